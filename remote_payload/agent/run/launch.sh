# The first thing that runs in an attempt, under bash or, where there is none, sh. Started by run/launch.py with
#   KIND PYTHON PREFIX CONDA_ROOT CONDA_ENV FIRST FOLDER SCRIPT
# KIND is conda, venv, path or system; FIRST is what goes before PATH; FOLDER is where the user's text starts.
# Standard input is a gate: nothing happens before a line comes through it, and nothing at all when it closes.
IFS= read -r orch_go || exit 120
[ "$orch_go" = go ] || exit 120
exec </dev/null

orch_kind=$1 orch_python=$2 orch_prefix=$3 orch_root=$4 orch_env=$5 orch_first=$6 orch_folder=$7 orch_script=$8
set --

orch_fail() {
    printf '[orch] environment: %s\n' "$1" >&2
    exit 121
}

# No -e and no -u up to here and through activation: conda's own scripts read unset variables and let commands fail.
case $orch_kind in
conda)
    if [ -n "$orch_root" ] && [ -f "$orch_root/etc/profile.d/conda.sh" ]; then
        . "$orch_root/etc/profile.d/conda.sh"
        conda activate "$orch_env" || printf '[orch] conda activate %s failed; PATH is set by hand\n' "$orch_env" >&2
    elif [ -n "$orch_root" ] && [ -f "$orch_root/bin/activate" ]; then
        . "$orch_root/bin/activate" "$orch_env" || :
    fi
    ;;
venv)
    [ -f "$orch_prefix/bin/activate" ] && . "$orch_prefix/bin/activate"
    ;;
esac

# The prefix is verified, not believed: an activation script may have put something else first. Folders are compared too,
# because a venv's python is a link to the very file another `python` may be.
orch_right() {
    orch_found=$(command -v python 2>/dev/null)
    [ "$orch_found" -ef "$orch_python" ] || return 1
    [ "${orch_found%/*}" -ef "${orch_python%/*}" ] || [ "${orch_found%/*}" = "${orch_first%%:*}" ]
}
if ! orch_right; then
    PATH=$orch_first:$PATH
    export PATH
    hash -r 2>/dev/null
fi
orch_right || orch_fail "python is ${orch_found:-not found} instead of $orch_python"

cd "$orch_folder" || orch_fail "the folder $orch_folder cannot be entered"
unset orch_go orch_kind orch_python orch_prefix orch_root orch_env orch_first orch_folder orch_found
unset -f orch_fail orch_right
set -e
(set -o pipefail) 2>/dev/null && set -o pipefail
. "$orch_script"
