#!/usr/bin/awk -f
# Prints the operations, or the expected results, of some sections.
#
#   sections.awk -v without=" raw_cas one_pc " FILE   all sections but these
#   sections.awk -v only=read_back FILE               one section
/^#/ || /^client / || /^$/ { next }
/^\[.*\]$/ {
    section = substr($0, 2, length($0) - 2)
    skipped = only ? section != only : index(without, " " section " ") > 0
    next
}
!skipped { print }
