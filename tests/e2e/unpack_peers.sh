#!/usr/bin/env bash
# Unpacks the mail servers that conflict with postfix as packages, so that the tests can run all three side by side.
# Usage: unpack_peers.sh [FOLDER]; default ${XDG_CACHE_HOME:-$HOME/.cache}/postern/peers. Changes nothing else on the
# machine; a folder that is complete already is left as it is. The tests look in the folder named by POSTERN_PEERS, or
# in the default.
set -euo pipefail

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/postern/peers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

unpack() {  # NAME PACKAGE PROGRAM
  local name=$1 package=$2 program=$3 work
  if [ -x "$folder/$name/$program" ]; then
    return
  fi
  # Into a sibling first and renamed when whole, so that an interrupted run leaves nothing that looks complete.
  work=$(mktemp -d "$folder/.unpack.XXXXXX")
  (
    cd "$work"
    apt-get download -qq -o APT::Sandbox::User=root "$package"
    dpkg-deb -x ./*.deb tree
  )
  rm -rf "${folder:?}/$name"
  mv "$work/tree" "$folder/$name"
  rm -rf "$work"
}

unpack exim exim4-daemon-light usr/sbin/exim4
unpack opensmtpd opensmtpd usr/sbin/smtpd

status=0
for program in exim/usr/sbin/exim4 opensmtpd/usr/sbin/smtpd; do
  if missing=$(ldd "$folder/$program" | grep 'not found'); then
    echo "$folder/$program lacks libraries (see packages.txt):" >&2
    echo "$missing" >&2
    status=1
  fi
done
exit $status
