# The part of scripts/arrows that judges. Reads lines of "room", "may", "file", "include", "public" and "symbol".

$1 == "room" { rooms[$2] = 1 }
$1 == "may" { may[$2, $3] = 1 }
$1 == "file" { file[$2] = 1 }
$1 == "include" { from[++includes] = $2; header[includes] = $3 }
$1 == "public" { public[$2] = 1 }
$1 == "symbol" { built[$2] = 1 }
$1 == "symbol" && $4 == "U" { user[++uses] = $2; used[uses] = $3 }
$1 == "symbol" && $4 != "U" { home[is_nif($2), $3] = $2 }

END {
    check_includes()
    check_objects()
    check_symbols()
    check_circle_of_rooms()
    for (room in rooms) check_circles_of_files(room)
    if (verbose) print_arrows()
    exit bad
}

function complain(text) {
    print "arrows: " text
    bad = 1
}

# The room of a path below c_src/ or of include/kv/.
function room_of(path) {
    if (path ~ /^include\/kv\//) return "include/kv"
    sub(/^c_src\//, "", path)
    if (path == "main.c") return "node"
    sub(/\/.*/, "", path)
    return path
}

# A file without its ending: a header and its .c are one.
function unit_of(path) {
    sub(/^c_src\//, "", path)
    sub(/\.[ch]$/, "", path)
    return path
}

# The NIF is a library of its own, with functions of its own under some of the names.
function is_nif(path) { return path ~ /^c_src\/nif\// }

function library_of(name) {
    if (name == "uv.h") return "libuv"
    if (name == "ei.h") return "libei"
    if (name == "microhttpd.h") return "libmicrohttpd"
    if (name == "seccomp.h") return "libseccomp"
    if (name == "openssl/ssl.h") return "libssl"
    if (name ~ /^openssl\//) return "libcrypto"
    if (name == "erl_nif.h") return "erl_nif"
    if (name ~ /^(ctype|errno|float|inttypes|limits|math|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|[a-z]+intrin)\.h$/)
        return ""
    return "system"
}

function may_use(room, other) { return (room, "all") in may || (room, other) in may }

# An arrow from a room to a unit of another: allowed by the room's name, or by that of the header.
function arrow(room, other, unit, text) {
    if (room == other) return
    between[room, other]++
    if (other == "include/kv" || may_use(room, other) || may_use(room, unit ".h")) return
    complain(text ": " room " may not use " other)
}

function check_includes(    i, room, library) {
    for (i = 1; i <= includes; i++) {
        room = room_of(from[i])
        if (!(room in rooms)) complain(from[i] ": CONTRIBUTING.md has no room " room)
        if (("include/" header[i]) in file)
            arrow(room, "include/kv")
        else if (("c_src/" header[i]) in file)
            arrow(room, room_of(header[i]), unit_of(header[i]), from[i] " includes " header[i])
        else {
            library = library_of(header[i])
            if (library != "" && !may_use(room, library))
                complain(from[i] " includes <" header[i] ">: " room " may not use " library)
        }
    }
}

function check_objects(    path) {
    for (path in file)
        if (path ~ /\.c$/ && !(path in built)) complain(path " has no object: build first, make -C c_src")
}

function check_symbols(    i, target, room, other) {
    for (i = 1; i <= uses; i++) {
        if ((is_nif(user[i]), used[i]) in home) target = home[is_nif(user[i]), used[i]]
        else if ((0, used[i]) in home) target = home[0, used[i]]
        else continue
        room = room_of(user[i])
        other = room_of(target)
        if (room == other) within(room, unit_of(user[i]), unit_of(target), used[i])
        else if (!(used[i] in public)) arrow(room, other, unit_of(target), user[i] " uses " used[i] " of " target)
    }
}

function within(room, unit, other, name) {
    if (unit == other) return
    member[room, unit] = member[room, other] = 1
    witness[unit, other] = name
}

# Rooms that no arrow enters, or that none leaves, are in no circle: what is left when they have been taken away is.
function check_circle_of_rooms(    alive, room, gone, left) {
    for (room in rooms) alive[room] = 1
    do {
        gone = 0
        for (room in alive)
            if (!has_arrow(room, alive, 1) || !has_arrow(room, alive, 2)) { delete alive[room]; gone = 1 }
    } while (gone)
    for (room in alive) left = left " " room
    if (left != "") complain("rooms in a circle, or between two circles:" left)
}

function has_arrow(room, alive, side,    pair, end) {
    for (pair in between) {
        split(pair, end, SUBSEP)
        if (end[side] == room && (end[3 - side] in alive)) return 1
    }
    return 0
}

# Two files that reach each other are in a circle.
function check_circles_of_files(room,    n, name, reach, i, j, seen, line) {
    n = members(room, name)
    close_under_reach(n, name, reach)
    for (i = 1; i <= n; i++) {
        if (!((i, i) in reach) || (i in seen)) continue
        line = ""
        for (j = 1; j <= n; j++) if ((i, j) in reach && (j, i) in reach) { line = line " " name[j]; seen[j] = i }
        if (is_one_machine(line)) continue
        complain("files in a circle:" line)
        print_circle(n, name, seen, i)
    }
}

function members(room, name,    pair, end, n) {
    for (pair in member) {
        split(pair, end, SUBSEP)
        if (end[1] == room) name[++n] = end[2]
    }
    return n
}

function close_under_reach(n, name, reach,    i, j, k) {
    for (i = 1; i <= n; i++) for (j = 1; j <= n; j++) if ((name[i], name[j]) in witness) reach[i, j] = 1
    for (k = 1; k <= n; k++)
        for (i = 1; i <= n; i++)
            if ((i, k) in reach) for (j = 1; j <= n; j++) if ((k, j) in reach) reach[i, j] = 1
}

function is_one_machine(line,    part, n, i) {
    n = split(line, part, " ")
    for (i = 1; i <= n; i++) if (!index(" " one_machine " ", " " part[i] " ")) return 0
    return 1
}

function print_circle(n, name, seen, circle,    i, j) {
    for (i = 1; i <= n; i++)
        for (j = 1; j <= n; j++)
            if (seen[i] == circle && seen[j] == circle && (name[i], name[j]) in witness)
                print "    " name[i] " -> " name[j] ", " witness[name[i], name[j]]
}

function print_arrows(    pair, end) {
    for (pair in between) {
        split(pair, end, SUBSEP)
        print end[1] " -> " end[2] " (" between[pair] ")" | "sort"
    }
    close("sort")
}
