#!/usr/bin/env bash
# Builds and runs the tests: eng/test.sh [FILTER]. Called by ./fla test, where everything it needs is at hand.
# The last line is "N passed, N failed, N skipped"; fails when a test failed, a run broke off, or no test ran.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "$0")")")
readonly results=$root/artifacts/test-results

say() { printf 'fla: %s\n' "$*"; }

has_validation_layer() {
    local folder
    for folder in /usr/share /usr/local/share /etc "${VULKAN_SDK:-/nonexistent}/share"; do
        [[ ! -e $folder/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ]] || return 0
    done
    return 1
}

# A word becomes "the full name contains"; whatever has an operator is taken as it is.
filter_of() {
    case ${1:-} in
    '') ;;
    *[=~\|\&]*) printf '%s' "$1" ;;
    *) printf 'FullyQualifiedName~%s' "$1" | sed 's/[()]/\\&/g' ;;
    esac
}

# run_project NAME FILTER: what it says goes to its log; where it fails there is a file NAME.broken.
run_project() {
    local name=$1 filter=$2 arguments
    arguments=(
        "$root/tests/$name/bin/Release/net10.0/$name.dll"
        --logger "console;verbosity=minimal" --logger "trx;LogFileName=$name.trx" --results-directory "$results"
        --blame-hang-timeout 10m --blame-hang-dump-type none
    )
    [[ -z $filter ]] || arguments+=(--filter "$filter")
    say "$name"
    # Less the lines that every run has; the pipe's status is still the tests' (pipefail, and sed never fails).
    dotnet test "${arguments[@]}" --nologo </dev/null 2>&1 |
        sed -uE '/^(Starting test execution|A total of [0-9]+ test files|Data collector .Blame. message|Results File:|VSTest version)/d; /^$/d' >"$results/$name.log" ||
        touch "$results/$name.broken"
    cat "$results/$name.log"
}

# summarise ABORTED TRX...: prints the skipped tests under their reasons, then the totals.
summarise() {
    awk -v failed="$1" '
        function attribute(name,   text) {
            if (!match($0, " " name "=\"[^\"]*\"")) return ""
            text = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
            return plain(text)
        }
        function project(   text) {
            text = FILENAME
            sub(/.*\//, "", text)
            sub(/\.trx$/, "", text)
            return text
        }
        function plain(text) {
            gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&#xD;|&#xA;/, " ", text); gsub(/&amp;/, "\\&", text)
            return text
        }
        /<UnitTestResult / {
            outcome = attribute("outcome"); test = project() ": " attribute("testName")
            if (outcome == "Passed") passed++
            else if (outcome == "Failed") failed++
            else { skipped++; reason = "no reason given"; waiting = 1 }
            if (waiting && /\/>/) finish()
        }
        waiting && /<Message>/ { reason = $0; sub(/.*<Message>/, "", reason); sub(/<\/Message>.*/, "", reason); sub(/^ +/, "", reason); reason = plain(reason) }
        waiting && /<\/UnitTestResult>/ { finish() }
        function finish() {
            waiting = 0
            if (!(reason in tests)) order[++reasons] = reason
            tests[reason] = tests[reason] "\n    " test
            count[reason]++
        }
        END {
            if (reasons) print "\nSkipped:"
            for (i = 1; i <= reasons; i++) printf "  %s (%d)%s\n", order[i], count[order[i]], tests[order[i]]
            printf "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped
        }' "${@:2}"
}

main() {
    local filter name names broken=() trx=() aborted=0 summary started=$SECONDS
    filter=$(filter_of "${1:-}")
    rm -rf "$results"
    if has_validation_layer; then
        export FLA_VALIDATION=${FLA_VALIDATION:-1}
    else
        say "there is no validation layer here: the tests run without it"
    fi

    say "building"
    dotnet msbuild "$root/Fla.sln" -restore -p:Configuration=Release -nologo -v:quiet -warnAsMessage:NU1603 </dev/null
    say "built in $((SECONDS - started)) s"

    # Two at a time: a project's tests run one after the other, and keep little more than a core busy. The last in the alphabet has
    # the most. (xargs leaves them the signals that they test, where & would not.)
    mkdir -p "$results"
    mapfile -t names < <(basename -s .csproj "$root"/tests/*.Tests/*.csproj | sort -r)
    printf '%s\0' "${names[@]}" | xargs -0 -P 2 -I{} "$0" --project {} "$filter"
    for name in "${names[@]}"; do
        if [[ -e $results/$name.broken ]]; then
            broken+=("$name")
            # Whatever it was running when it broke off has failed.
            grep -s '<UnitTestResult .*outcome="Failed"' "$results/$name.trx" >/dev/null || aborted=$((aborted + 1))
        fi
        [[ ! -e $results/$name.trx ]] || trx+=("$results/$name.trx")
    done

    summary=$(summarise "$aborted" "${trx[@]:-/dev/null}")
    printf '%s\n' "${summary%$'\n'*}"
    [[ ${#broken[@]} == 0 ]] || say "failed or broke off: ${broken[*]}"
    say "$((SECONDS - started)) s in all"
    printf '%s\n' "${summary##*$'\n'}"
    [[ ${#broken[@]} == 0 && ${summary##*$'\n'} == *" 0 failed, "* && ${summary##*$'\n'} != "0 passed, 0 failed, "* ]]
}

if [[ ${1:-} == --project ]]; then run_project "$2" "$3"; else main "$@"; fi
