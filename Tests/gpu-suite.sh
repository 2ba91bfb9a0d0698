#!/bin/bash
# gpu-suite.sh [FOLDER [STAGE...]]: the device suite on a machine that has a GPU and the .NET runtime, no SDK: from the folder that
# Tests/CSharp was built into. Then NVIDIA's checkers, where they are installed, over its kernels in the smallest shapes that take every path.
# STAGE: suite; full, with every case of what the suite takes some cases of; memcheck (accesses of memory), racecheck (hazards in shared
# memory), synccheck (use of barriers); default: all but full, in this order. Each ends with a line for each of its parts and one that sums
# them up. names runs nothing and needs no GPU: it counts the tests of each part of them all, and fails where one has none.
# GPU_SUITE_SECONDS: the longest that a part of a stage may take (600); where it takes longer, it says in which test it was.
# Parts run beside each other: compiling kernels takes longest, and what one run has compiled the next ones find.
folder=${1:-$(dirname "$0")/CSharp/bin/Release/net10.0}
shift
stages=${*:-suite memcheck racecheck synccheck}
tests="${DOTNET:-dotnet} $folder/Legato.Tests.CSharp.dll"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# The parts of both stages: a name, and tests. They begin at once; none has many kernels to compile.
parts=('elements KernelTests\("cuda"\)\.El'
    'operations KernelTests\("cuda"\)\.(E[^l]|G)'
    'random-expressions KernelTests\("cuda"\)\.Ra'
    'kernels KernelTests\("cuda"\)\.([^EGR]|R[^a])'
    'devices (CubinCache|Cuda(ColumnSums|Mistake|Joined))Tests\.|CudaTests\.[^N]'
    'epilogues Cuda(Epilogue|Gelu)Tests\.'
    'few-rows (Device|FewRows)Tests.*cuda'
    'grouped-steps GroupedStepTests\.(ARowHas|[^GPMN].*cuda)'
    'grouped-sizes GroupedStepTests\.[MN].*OnTheGpu'
    'grouped-products GroupedStepTests\.P.*(cuda|OnTheGpu)'
    'grouped-gradients GroupedStepTests\.G.*cuda'
    'products CudaTests\.N'
    'products-joined CudaDeferredProductTests\.[^EM]'
    'attention-of-any-type DeviceAttentionTests.*cuda'
    'attention-behind-a-past CudaAttentionTests\(False\)\.[^F]'
    'attention-behind-a-past-portable CudaAttentionTests\(True\)\.[^F]')

# What has many cases. In the suite, of each pair of them some: of masks and types, of types and heads, of endings and types.
few=('choice ChooseTests\.(?!Every.*,(0\.02|30)).*"cuda"'
    'products-of-bf16 CudaDeferredProductTests\.Every.*True,BF16'
    'products-of-f16 CudaDeferredProductTests\.Every.*False,F16'
    'products-of-many-tiles CudaDeferredProductTests\.Many.*,40\)')
all=('choice ChooseTests.*"cuda"')
for ending in nothing bias matrix both gelu 'biased gelu' slope; do all+=("products-${ending// /-} CudaDeferredProductTests\.[EM].*\"$ending\""); done
for kernels in hopper portable; do
    test="CudaAttentionTests\\($([ $kernels = portable ] && echo True || echo False)\\)\\.F.*"
    few+=("attention-$kernels-bf16 $test\"causal\",BF16,.*,150" "attention-$kernels-f16 $test\"(causal|capped)\",F16,(32|64|256),150"
        "attention-$kernels-masks $test\"(all|window|corner)\",BF16,(64|128),150" "attention-$kernels-scores $test\"(capped|biased)\",BF16,(40|64|128),150"
        "attention-$kernels-short $test\"(causal|corner)\",BF16,(64|128),2\\)")
    for meaning in all causal window corner capped biased; do
        for type in BF16 F16; do all+=("attention-$kernels-$meaning-$type $test\"$meaning\",$type"); done
    done
done

# What the checkers look at: a name, a part of the names of the kernels that it is for, or a dash for all, and of how many launches
# of them, if not all, and tests. The others that these tests run, those that results are compared with and cuBLASLt's, run as always.
checks=('kernels - KernelTests\("cuda"\)\.[^EG]|CudaJoinedTests|DeviceTests\.TopK.*cuda'
    'sums-over-rows fused:1 CudaTests\.Sums'
    'column-sums column_sums CudaColumnSumsTests'
    'few-rows-chains - FewRowsTests\.(Queries|Gate).*cuda'
    'few-rows - FewRowsTests\.A.*cuda'
    'dispatch - GroupedStepTests\.(Dispatch|AnEpilogue).*cuda'
    'grouped - GroupedStepTests\.(ProductsAgree|GradientsAgree).*"(cuda)".*,(2|40),2,'
    'grouped-narrow product_hopper GroupedStepTests\.(NarrowRows.*"mixed",40,.*BF16|ProductsBeside.*"mixed")'
    'grouped-many product_hopper GroupedStepTests\.Many.*OnTheGpu'
    'grouped-gathering product_hopper GroupedStepTests\.ProductsThatGather'
    'products product_hopper CudaTests\.NarrowProducts.*F32'
    'products-deferred product_deferred CudaDeferredProductTests\.(Every.*"(nothing|bias)".*BF16|Odd)'
    'products-of-many-tiles product_deferred CudaDeferredProductTests\.Many.*"bias",40'
    'products-joined product_deferred CudaDeferredProductTests\.(Products|ASum).*130'
    'products-gated product_deferred CudaDeferredProductTests\.AGated.*130,BF16'
    'choice-without-a-likeliest choose_token ChooseTests\.ARow.*"cuda"'
    'choice choose_token ChooseTests\.TheLeast.*"cuda"'
    'choice-of-many choose_token:1 ChooseTests\.What.*"cuda",1'
    'attention-of-any-type - DeviceAttentionTests\("cuda"'
    'attention-decode attention_decode CudaAttentionTests\(False\)\.OneQueryB'
    'attention-decode-batches attention_decode CudaAttentionTests\(False\)\.ARowOf'
    'attention attention CudaAttentionTests\(False\)\.QueriesBehindAPast\("causal",5,(64|128)\)'
    'attention-portable attention CudaAttentionTests\(True\)\.(ForwardAndGradient\("(causal|biased)",BF16,(64|128),150\)|QueriesBehindAPast\("causal",5,64\))'
    'attention-and-gradient attention CudaAttentionTests\(False\)\.ForwardAndGradient\("causal",BF16,(128|256),150\)'
    'attention-gradient-masks attention_gradient CudaAttentionTests\(False\)\.ForwardAndGradient\("(all|causal|corner)",BF16,(40|64),150\)'
    'attention-gradient-scores attention_gradient CudaAttentionTests\(False\)\.ForwardAndGradient\("(window|capped|biased)",BF16,64,150\)'
    'attention-gradient-turns attention_gradient:1 CudaAttentionTests\(False\)\.Long.*\("causal",64,36\)')

# Whether a run's output says that its tests passed; of a checker, that it found nothing. A checker's own status tells less: its library may
# crash while the process ends, in a destructor that calls the driver after the driver's own (seen with compute-sanitizer 2025.3.1).
is_clean() {
    grep -qE '^[0-9]*[1-9][0-9]* passed, 0 failed' "$1" || return 1
    ! grep -q '^========= COMPUTE-SANITIZER' "$1" || grep -qE 'SUMMARY: 0 (errors|hazards displayed \(0 errors, 0 warnings\))' "$1"
}

# part STAGE NAME PATTERN COMMAND...: the command over the tests of a pattern; what it prints, whether all went well, and the count of its tests.
part() {
    local stage=$1 name=$2 pattern=$3 file result=passed status start=$SECONDS
    shift 3
    file=$(mktemp -p "$work")
    timeout -k 10 "${GPU_SUITE_SECONDS:-600}" "$@" $tests "$pattern" > "$file" 2>&1
    status=$?
    is_clean "$file" && { [ $status = 0 ] || [[ $stage = *check ]]; } || result=FAILED
    ! grep -q '^0 passed, 0 failed, 0 skipped' "$file" || result="FAILED, no test has such a name"
    [ $status != 124 ] && [ $status != 137 ] || result="FAILED, out of time"
    {
        flock 9
        echo "== $stage $name: $result in $((SECONDS - start)) s"
        cat "$file"
        echo "$name: $result in $((SECONDS - start)) s: $(grep -E '^[0-9]+ passed, ' "$file")" >> "$work/$stage"
    } 9> "$work/lock"
}

# summary STAGE START: what ends a stage: a line for each part, and one for all.
summary() {
    local bad=$(grep -c FAILED "$work/$1") counts=$(awk '/ passed, /{ for (i = 2; i < NF; i++) if ($(i + 1) ~ /^passed,/) p += $i; else if ($(i + 1) ~ /^failed,/) f += $i; else if ($(i + 1) ~ /^skipped/) s += $i } END { print p + 0 " passed, " f + 0 " failed, " s + 0 " skipped" }' "$work/$1")
    [ "$bad" = 0 ] || failed=1
    sort "$work/$1" | sed "s/^/$1 /"
    echo "=== $1: $([ "$bad" = 0 ] && echo clean || echo "$bad of its parts FAILED"), $(wc -l < "$work/$1") parts, tests: $counts, $((SECONDS - $2)) s"
}

# names: how many tests each part of all stages has; in the order of the patterns, which one run of the tests' program reads.
names() {
    local name count bad=0 patterns=() names=() each
    for each in "${parts[@]}" "${few[@]}" "${all[@]}"; do names+=("${each%% *}") patterns+=("${each#* }"); done
    for each in "${checks[@]}"; do
        read -r name _ each <<< "$each"
        names+=("check of $name") patterns+=("$each")
    done
    exec 3< <(printf '%s\n' "${patterns[@]}" | $tests --count)
    for name in "${names[@]}"; do
        read -r count <&3
        [ "${count:-0}" != 0 ] || ((bad++))
        echo "$name: ${count:-not counted}$([ "${count:-0}" != 0 ] || echo ', FAILED')"
    done
    [ $bad = 0 ] || failed=1
    echo "=== names: $([ $bad = 0 ] && echo clean || echo "$bad of its parts FAILED"), ${#names[@]} parts"
}

checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
for stage in $stages; do
    start=$SECONDS
    case $stage in
    names)
        names
        continue
        ;;
    suite | full)
        [ $stage = suite ] && cases=("${few[@]}") || cases=("${all[@]}")
        for each in "${parts[@]}" "${cases[@]}"; do part $stage "${each%% *}" "${each#* }" & done
        ;;
    memcheck | racecheck | synccheck)
        if [ -z "$checker" ]; then
            echo "=== $stage: skipped, compute-sanitizer isn't here"
            continue
        fi
        # racecheck takes a lane's arrival at a barrier for that lane's alone, and would report what one lane has said for its warp.
        [ $stage = racecheck ] && export LEGATO_NVRTC_OPTIONS=-DWARP_ARRIVALS=32 || unset LEGATO_NVRTC_OPTIONS
        for check in "${checks[@]}"; do
            read -r name kernel pattern <<< "$check"
            # racecheck 2025.3.1 itself faults on every form of this kernel since its blocks are clusters, of one that has no traffic
            # between them too ("failed to handle a hardware exception").
            if [ $stage$kernel = racecheckproduct_deferred ]; then
                echo "== racecheck $name: left out, the checker faults on clusters of this kernel"
                continue
            fi
            filter=()
            [ "$kernel" = - ] || filter=(--kernel-name "kns=${kernel%:*}")
            [[ $kernel != *:* ]] || filter+=(--launch-count "${kernel#*:}")
            part $stage "$name" "$pattern" "$checker" --tool $stage "${filter[@]}" &
        done
        ;;
    *)
        echo "no stage is called '$stage': suite, full, memcheck, racecheck, synccheck, names"
        exit 2
        ;;
    esac
    wait
    summary $stage $start
done
exit $failed
