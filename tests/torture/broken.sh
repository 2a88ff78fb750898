#!/usr/bin/env bash
# A harness that sees no loss proves nothing: breaks the daemon on purpose, one patch of tests/torture/broken after
# the other, and expects that the harness reports a loss. Each patch says how it is run. The tree is copied as it
# is, and built in target/broken.
#
#   tests/torture/broken.sh                      all of them
#   tests/torture/broken.sh shared-channel …     some
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
copy=$root/target/broken-tree
names=("$@")
if ((${#names[@]} == 0)); then
    for patch in tests/torture/broken/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi
cargo build --quiet -p sluiced -p sluiced-torture
unseen=()
for name in "${names[@]}"; do
    patch=$root/tests/torture/broken/$name.patch
    run=$(sed -n 's/^run: //p' "$patch")
    echo "== $name: torture $run"
    mkdir -p "$copy"
    # Files keep their times, so that only what a patch touches, or has touched, is built again.
    git ls-files -z | xargs -0 cp --parents --preserve=timestamps -t "$copy"
    sed -n 's|^--- a/||p' tests/torture/broken/*.patch | (cd "$copy" && xargs touch)
    patch --quiet -d "$copy" -p1 <"$patch"
    (cd "$copy" && CARGO_TARGET_DIR=$root/target/broken cargo build --quiet -p sluiced)
    code=0
    # shellcheck disable=SC2086
    target/debug/torture --binary target/broken/debug/sluiced --keep target/broken-kept $run |
        tee target/broken-report || code=$?
    if ((code > 1)); then
        echo "== $name: the run failed" >&2
        exit 2
    fi
    # Duplicates would make it 1 as well, and say nothing: a sound daemon sends what was cut off again.
    grep -Eq '^[0-9]+ rounds: .* [1-9][0-9]* lost, ' target/broken-report || unseen+=("$name")
    rm -rf target/broken-kept target/broken-report
done
if ((${#unseen[@]} > 0)); then
    echo "== NOT SEEN: ${unseen[*]}" >&2
    exit 1
fi
echo "== all seen: ${names[*]}"
