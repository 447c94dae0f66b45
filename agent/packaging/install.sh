#!/bin/sh
# Installs edgewatch-agent on this host. A Worker serves this script with its own URL filled in:
#
#   curl -fsSL https://YOUR-WORKER/install.sh | EDGEWATCH_TOKEN=TOKEN sudo --preserve-env=EDGEWATCH_TOKEN sh -s -- [OPTION]...
#
# installs the agent of the newest release, enrols this host with TOKEN, and starts the agent as a service of systemd. A
# host that is enrolled already stays who it is, and needs no token: this is also how it gets a newer agent. TOKEN may also
# be an argument, which every user of this host can read meanwhile.
#
#   --name NAME          what to call the host
#   --tag TAG            a tag for it; as many as you like
#   --force              enrol it anew
#   --proxy URL          the way to the server, for the agent and for this script
#   --ca-file FILE       whose certificates the agent trusts, and nobody else's
#   --allow-plain-http   speak http:// to a server that is not this machine
#   --downgrade          install a release that is older than the agent that is here
#   --no-service         leave it to somebody else to run the agent
#   --dir DIR            with --no-service: where the program goes, /usr/local/bin if not said
#
# Nothing that was downloaded is run or installed before its signature is verified with the key below.
set -eu

SERVER='@SERVER@'
RELEASES='@RELEASES@'
KEY='@KEY@'

# Far above what these files have.
LIST_BYTES_MAX=65536
PROGRAM_BYTES_MAX=16777216

say() {
    printf 'edgewatch: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

has() {
    command -v "$1" > /dev/null 2>&1
}

# fetch URL FILE BYTES_MAX
fetch() {
    case $1 in
        https://*) protocol=https ;;
        *) protocol=http ;;
    esac
    if has curl; then
        curl -fsSL --proto "=$protocol" --connect-timeout 10 --max-time 300 --max-filesize "$3" -o "$2" "$1" ||
            fail "could not fetch $1"
    elif has wget; then
        wget -q -T 60 -O "$2" "$1" || fail "could not fetch $1"
    else
        fail "curl or wget is needed"
    fi
    [ "$(wc -c < "$2")" -le "$3" ] || fail "$1 has more than $3 bytes"
}

# verify FILE SIGNATURE: ends everything unless the signature, in minisign's format, is of FILE and by KEY.
verify() {
    if has minisign; then
        minisign -V -q -m "$1" -x "$2" -P "$KEY" > /dev/null 2>&1 || refuse
        return
    fi
    case $(openssl version 2> /dev/null) in
        "OpenSSL "[3-9]*) ;;
        *) fail "nothing here can verify a signature: install minisign, or OpenSSL 3 (apt-get install openssl)" ;;
    esac
    # Two bytes that name the algorithm, eight that name the key, then key and signature of Ed25519, the latter of the
    # file's BLAKE2b hash. OpenSSL wants the key in DER, which for Ed25519 always begins with the same 12 bytes.
    printf '%s' "$KEY" | openssl base64 -d -A > "$work/key"
    sed -n 2p "$2" | openssl base64 -d -A > "$work/signed"
    { [ "$(wc -c < "$work/key")" -eq 42 ] && [ "$(wc -c < "$work/signed")" -eq 74 ]; } || refuse
    [ "$(head -c 2 "$work/signed")" = ED ] || refuse
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000' && tail -c 32 "$work/key"; } > "$work/key.der"
    tail -c 64 "$work/signed" > "$work/signature"
    openssl dgst -blake2b512 -binary "$1" > "$work/hash" || refuse
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/hash" \
        -sigfile "$work/signature" > /dev/null 2>&1 || refuse
}

refuse() {
    fail "the release at $RELEASES is not signed by the key that this script trusts: nothing was installed"
}

# All of it in a function, so that a script that was cut off on its way does nothing.
main() {
    token=${EDGEWATCH_TOKEN:-}
    dir=/usr/local/bin
    service=yes
    downgrade=no
    # What the agent is told is kept in the parameters themselves, where spaces stay what they are.
    left=$#
    while [ "$left" -gt 0 ]; do
        argument=$1
        shift
        left=$((left - 1))
        case $argument in
            --name | --tag | --dir | --proxy | --ca-file)
                [ "$left" -gt 0 ] || fail "$argument needs a value"
                value=$1
                shift
                left=$((left - 1))
                if [ "$argument" = --dir ]; then dir=$value; else set -- "$@" "$argument" "$value"; fi
                [ "$argument" != --proxy ] || export https_proxy="$value"
                ;;
            --force | --allow-plain-http) set -- "$@" "$argument" ;;
            --downgrade) downgrade=yes ;;
            --no-service) service=no ;;
            -*) fail "unknown option $argument" ;;
            *) token=$argument ;;
        esac
    done

    case $SERVER$RELEASES$KEY in
        *@*) fail "this is the script as it lies in the repository: fetch /install.sh from your Worker" ;;
    esac
    case $(uname -s) in
        Linux) ;;
        *) fail "there are releases for Linux only" ;;
    esac
    case $(uname -m) in
        x86_64 | amd64) machine=x86_64 ;;
        aarch64 | arm64) machine=aarch64 ;;
        *) fail "there are releases for x86_64 and aarch64 only" ;;
    esac
    [ "$service" = no ] || dir=/usr/local/bin
    has sha256sum || fail "sha256sum is needed"
    { [ -d "$dir" ] && [ -w "$dir" ]; } || fail "cannot write to $dir: run it as root, or say --dir DIR"
    if [ "$service" = yes ]; then
        [ "$(id -u)" -eq 0 ] || fail "a service is set up by root: run it with sudo, or say --no-service"
        [ -d /run/systemd/system ] || fail "this host is not run by systemd: say --no-service, and start the agent yourself"
        [ ! -e /usr/lib/systemd/system/edgewatch-agent.service ] ||
            fail "a package brought the agent: update the package, enrol with edgewatch-agent enroll $SERVER TOKEN"
    fi

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    fetch "$RELEASES/SHA256SUMS" "$work/SHA256SUMS" "$LIST_BYTES_MAX"
    fetch "$RELEASES/SHA256SUMS.minisig" "$work/SHA256SUMS.minisig" "$LIST_BYTES_MAX"
    verify "$work/SHA256SUMS" "$work/SHA256SUMS.minisig"
    file=$(sed -n "s/^[0-9a-f]\{64\}  \(edgewatch-agent-[0-9.]*-linux-$machine\)\$/\1/p" "$work/SHA256SUMS")
    [ "$(printf '%s\n' "$file" | grep -c .)" -eq 1 ] || fail "the release has no program for linux-$machine"
    version=${file#edgewatch-agent-}
    version=${version%%-*}
    if [ "$downgrade" = no ] && [ -x "$dir/edgewatch-agent" ]; then
        # Its second word. What does not start is replaced.
        installed=$("$dir/edgewatch-agent" --version 2> /dev/null | cut -d ' ' -f 2)
        newest=$(printf '%s\n' "$installed" "$version" | sort -V | tail -n 1)
        [ "$newest" = "$version" ] ||
            fail "the release is $version, older than the agent that is here ($installed): nothing was installed (--downgrade does)"
    fi
    fetch "$RELEASES/$file" "$work/$file" "$PROGRAM_BYTES_MAX"
    (cd "$work" && grep "  $file\$" SHA256SUMS | sha256sum -c - > /dev/null 2>&1) ||
        fail "$file is not what the signed list says: nothing was installed"

    # Beside its place first, so that the agent is never half there.
    cp "$work/$file" "$dir/edgewatch-agent.new"
    chmod 755 "$dir/edgewatch-agent.new"
    mv -f "$dir/edgewatch-agent.new" "$dir/edgewatch-agent"
    say "installed $file as $dir/edgewatch-agent"

    # Not as an argument, which every user of this host could read.
    export EDGEWATCH_TOKEN="$token"
    if [ "$service" = yes ]; then
        # User, configuration, units; the enrolment, unless it was before; the start.
        "$dir/edgewatch-agent" install --url "$SERVER" --update-url "$RELEASES" "$@"
    elif [ -n "$token" ]; then
        "$dir/edgewatch-agent" enroll "$SERVER" "$@"
    else
        say "no token was given: to enrol this host, $dir/edgewatch-agent enroll $SERVER TOKEN"
    fi
}

main "$@"
