#!/usr/bin/awk -f
# Compares the results of a client with the expected ones, line by line, and prints each difference.
#
#   compare.awk -v name=go -v totals=FILE EXPECTED RESULTS
#
# Appends the numbers of equal and of different lines to the file of totals. Exits with 1 if a line differs.
NR == FNR { expected[++lines] = $0; next }
{ found[++results] = $0 }
END {
    for (i = 1; i <= lines || i <= results; i++) {
        if (i <= lines && i <= results && expected[i] == found[i]) { passed++; continue }
        failed++
        printf "%s: expected %s\n", name, i <= lines ? expected[i] : "no more results"
        printf "%s: found    %s\n", name, i <= results ? found[i] : "no result: the program ended"
    }
    print passed + 0, failed + 0 >> totals
    exit failed > 0
}
