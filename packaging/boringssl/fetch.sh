#!/usr/bin/env bash
# fetch.sh VERSION FOLDER: brings the source package of BoringSSL into FOLDER/source, from the Debian mirror that this
# machine already uses. apt checks the signatures. The configuration is a private copy with `deb-src`: the machine's own
# stays as it is, and root is not needed.
set -euo pipefail
version=$1
folder=$2
package=android-platform-external-boringssl

mkdir -p "$folder/apt/sources" "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial"
cd "$folder"
shopt -s nullglob
for file in /etc/apt/sources.list.d/*.sources; do
  if grep -q '^Suites:.*bookworm' "$file"; then sed 's/^Types:.*/Types: deb-src/' "$file" >"apt/sources/${file##*/}"; fi
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -f "$file" ] || continue
  lines=$(sed -nE '/bookworm/s/^deb(-src)? /deb-src /p' "$file" | sort -u)
  if [ -n "$lines" ]; then printf '%s\n' "$lines" >"apt/sources/${file##*/}"; fi
done
if [ -z "$(ls apt/sources)" ]; then
  echo "BoringSSL: no Debian 12 (bookworm) entry under /etc/apt to fetch $package from" >&2
  exit 1
fi

private=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$folder/apt/sources"
  -o "Dir::State::Lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=)
apt-get "${private[@]}" update
apt-get "${private[@]}" source --download-only "$package=$version"
rm -rf source
# apt has checked the signature already, by way of the index; dpkg-source would want the maintainer's own key.
dpkg-source --no-check -x "${package}_$version.dsc" source >/dev/null
rm -rf apt "${package}"_*
