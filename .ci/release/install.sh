#!/bin/sh
# Installs slipway from a release: takes the program for this machine, checks its checksum, tries it, and puts it in place.
#
#   sh install.sh [--version VERSION] [--dir DIRECTORY] [--from URL]
#
#   --version  a release such as v1.2.3; the latest by default
#   --dir      where the program goes; /usr/local/bin by default
#   --from     the address of the directory with the files of a release, in place of the project's own
#
# It needs curl or wget, sha256sum or shasum, and gunzip; slipway itself needs glibc, or musl with libstdc++. Whatever goes
# wrong, nothing is replaced.
set -eu

# The releases of the repository that this script is from. `bun run release --repository OWNER/NAME` fills it in.
RELEASES=""

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# Prints the value of an option, or fails.
value_of() {
  [ "$2" -ge 2 ] || fail "$1 needs a value"
  printf '%s\n' "$3"
}

# Prints what this machine's programs are called in a release: x64, arm64, x64-musl or arm64-musl.
target() {
  [ "$(uname -s)" = Linux ] || fail "slipway runs on Linux, and this is $(uname -s)"
  case "$(uname -m)" in
    x86_64 | amd64) architecture=x64 glibc=/lib64/ld-linux-x86-64.so.2 musl=/lib/ld-musl-x86_64.so.1 ;;
    aarch64 | arm64) architecture=arm64 glibc=/lib/ld-linux-aarch64.so.1 musl=/lib/ld-musl-aarch64.so.1 ;;
    *) fail "there is no slipway for $(uname -m): only for x86_64 and aarch64" ;;
  esac
  # Debian has a package of musl, and Alpine one with a loader like that of glibc: a machine is what its ldd is.
  case "$(ldd --version 2>&1 || true)" in
    *musl*) libc=musl ;;
    *) if [ -e "$glibc" ]; then libc=glibc; elif [ -e "$musl" ]; then libc=musl; else libc=none; fi ;;
  esac
  case "$libc" in
    glibc) echo "$architecture" ;;
    musl) echo "$architecture-musl" ;;
    none) fail "neither glibc nor musl is on this machine ($glibc, $musl): slipway needs one of them" ;;
  esac
}

# Downloads a file of the release into the working directory.
download() {
  if has curl; then
    case "$from" in
      https:*) curl --fail --silent --show-error --location --proto =https --output "$1" "$from/$1" ;;
      *) curl --fail --silent --show-error --location --output "$1" "$from/$1" ;;
    esac || fail "cannot download $from/$1"
  else
    wget -q -O "$1" "$from/$1" || fail "cannot download $from/$1"
  fi
}

# Prints the checksum of a file.
sum_of() {
  if has sha256sum; then sum=$(sha256sum "$1"); else sum=$(shasum -a 256 "$1"); fi
  echo "${sum%% *}"
}

# Prints the checksum that SHA256SUMS has for a file; nothing if it has none.
expected_for() {
  while read -r sum name || [ -n "$sum" ]; do
    case "$sum" in *[!0-9a-f]*) continue ;; esac
    if [ ${#sum} -eq 64 ] && [ "${name#\*}" = "$1" ]; then
      echo "$sum"
      return
    fi
  done <SHA256SUMS
}

# Takes the file of this machine into the working directory, and fails unless it has the release's checksum.
fetch() {
  download SHA256SUMS
  download "$file"
  expected=$(expected_for "$file")
  [ -n "$expected" ] || fail "the checksums of this release do not name $file: nothing was installed"
  actual=$(sum_of "$file")
  [ "$actual" = "$expected" ] ||
    fail "the checksum of $file is $actual, and should be $expected: try again. Nothing was installed"
}

# Unpacks the file next to the program that it replaces, tries it, and gives it its name.
put() {
  mkdir -p "$directory" 2>/dev/null || true
  [ -w "$directory" ] || fail "cannot write to $directory: run this as root, or name another directory with --dir"
  # Under a name that nobody can know before: the directory may be one for all.
  new=$(mktemp "$directory/.slipway-XXXXXX") || fail "cannot write to $directory"
  gunzip -c "$file" >"$new" || fail "cannot unpack $file"
  chmod 755 "$new"
  version=$("$new" --version) || version=""
  case "$version:$file" in
    "slipway "*) ;;
    *-musl.gz) fail "the slipway of this release does not run here: it needs libstdc++ (apk add libstdc++). Nothing was installed" ;;
    *) fail "the slipway of this release does not run on this machine. Nothing was installed" ;;
  esac
  mv -f "$new" "$directory/slipway"
  echo "$version is installed: $directory/slipway"
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) echo "$directory is not in your PATH" ;;
  esac
}

# All of it is in functions, so that a script that was cut off on its way does nothing.
main() {
  version="" directory=/usr/local/bin from=""
  while [ $# -gt 0 ]; do
    case "$1" in
      --version) version=$(value_of "$1" $# "${2-}") ;;
      --dir) directory=$(value_of "$1" $# "${2-}") ;;
      --from) from=$(value_of "$1" $# "${2-}") ;;
      *) fail "unknown option $1: there are --version, --dir and --from" ;;
    esac
    shift 2
  done
  if [ -z "$from" ]; then
    [ -n "$RELEASES" ] || fail "this script is not from a release: name the address of its files with --from"
    if [ -n "$version" ]; then from="$RELEASES/download/$version"; else from="$RELEASES/latest/download"; fi
  fi
  has curl || has wget || fail "it needs curl or wget"
  has sha256sum || has shasum || fail "it needs sha256sum or shasum"
  has gunzip || fail "it needs gunzip"
  file="slipway-linux-$(target).gz"
  case "$directory" in /*) ;; *) directory="$PWD/$directory" ;; esac
  new=""
  work=$(mktemp -d)
  trap 'rm -rf "$work" ${new:+"$new"}' EXIT
  trap 'exit 1' HUP INT TERM
  cd "$work"
  fetch
  put
}

main "$@"
