#!/usr/bin/awk -f
# Adds up the results in the output of `cargo test`, and prints one line.
#
#   tools/test_totals.awk [-v chromium=1] LOG
#
# chromium=1: the tests that need Chromium ran after the others and are among the results.
/^test result: / {
    for (i = 1; i < NF; i++) {
        if ($(i + 1) ~ /^passed/) passed += $i
        if ($(i + 1) ~ /^failed/) failed += $i
        if ($(i + 1) ~ /^ignored/) ignored += $i
    }
}
/ \.\.\. ignored, needs Chromium/ { skipped++ }
/^error: could not compile|^error\[E[0-9]+\]/ { broken = 1 }
END {
    line = sprintf("total: %d passed, %d failed", passed, failed)
    if (ignored > skipped) line = line sprintf(", %d ignored", ignored - skipped)
    if (skipped && !chromium) line = line sprintf(", %d skipped: no Chromium", skipped)
    if (broken) line = line "; some tests did not compile"
    print line
}
