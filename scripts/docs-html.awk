# Gives headings ids, as GitHub names them, and makes links to documents links to their pages.

/^<h[1-6]>.*<\/h[1-6]>$/ {
    text = $0
    gsub(/<[^>]*>|&[a-z]+;/, "", text)
    text = tolower(text)
    gsub(/[^a-z0-9 _-]/, "", text)
    gsub(/ /, "-", text)
    sub(/^<h[1-6]/, "& id=\"" text "\"")
}
{
    line = $0
    $0 = ""
    while (match(line, /href="[^":]*\.md["#]/)) {
        $0 = $0 substr(line, 1, RSTART + RLENGTH - 4) "html" substr(line, RSTART + RLENGTH - 1, 1)
        line = substr(line, RSTART + RLENGTH)
    }
    print $0 line
}
