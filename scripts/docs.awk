# The part of scripts/docs that reads Markdown. Prints, of all files:
#
#   anchor FILE#SLUG           a heading, as GitHub names it
#   link FILE:LINE TARGET
#   path FILE:LINE PATH        a code span that looks like a file of the project
#   function FILE:LINE NAME    a code span that looks like a function in C

FNR == 1 { fenced = 0 }
/^ *```/ { fenced = !fenced; next }
fenced || /^    / { next }
/^#+ / { print "anchor " FILENAME "#" slug($0) }
{
    line = spans($0)
    while (match(line, /\]\([^) ]+\)/)) {
        print "link " FILENAME ":" FNR " " substr(line, RSTART + 2, RLENGTH - 3)
        line = substr(line, RSTART + RLENGTH)
    }
}

# A changelog tells of what is gone, results of what was.
function is_history() { return FILENAME ~ /CHANGELOG|results\// }

# Reports the code spans of a line, and returns the rest of it.
function spans(line,    rest, span) {
    while (match(line, /`[^`]+`/)) {
        span = substr(line, RSTART + 1, RLENGTH - 2)
        rest = rest substr(line, 1, RSTART - 1)
        line = substr(line, RSTART + RLENGTH)
        if (is_history()) continue
        if (span ~ /^([a-z_0-9]+\/)+[a-z_A-Z0-9.-]+\.(c|h|erl|ex|exs|md|escript)$/ || span ~ /^kv_[a-z_]+\.erl$/)
            print "path " FILENAME ":" FNR " " span
        else if (span ~ /^kv_[a-z0-9_]+\(\)$/)
            print "function " FILENAME ":" FNR " " substr(span, 1, length(span) - 2)
    }
    return rest line
}

function slug(heading) {
    sub(/^#+ /, "", heading)
    gsub(/\]\([^)]*\)/, "", heading)
    heading = tolower(heading)
    gsub(/[^a-z0-9 _-]/, "", heading)
    gsub(/ /, "-", heading)
    return heading
}
