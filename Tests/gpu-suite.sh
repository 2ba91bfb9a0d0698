#!/bin/bash
# gpu-suite.sh [FOLDER [STAGE...]]: the device suite on a machine that has a GPU and the .NET runtime, no SDK: from the folder that
# Tests/CSharp was built into. Then NVIDIA's checkers, where they are installed, over its kernels in the smallest shapes that take every path.
# STAGE: suite, memcheck (accesses of memory), racecheck (hazards in shared memory), synccheck (use of barriers); default: all, in this
# order. Each ends with one line that sums it up. GPU_SUITE_SECONDS: the longest that a part of a stage may take (600).
# Parts run beside each other: compiling kernels takes longest, and what one run has compiled the next ones find.
folder=${1:-$(dirname "$0")/CSharp/bin/Release/net10.0}
shift
stages=${*:-suite memcheck racecheck synccheck}
tests="${DOTNET:-dotnet} $folder/Legato.Tests.CSharp.dll"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

parts=('KernelTests\("cuda"\)\.[EG]' 'KernelTests\("cuda"\)\.[^EG]' '(CubinCache|Cuda(ColumnSums|Epilogue|Mistake|Gelu|Joined)?)Tests\.' 'CudaDeferredProductTests' '(Device|FewRows|Choose)Tests.*cuda' '(DeviceAttention|GroupedStep)Tests.*(cuda|OnTheGpu)')
for portable in False True; do
    parts+=("CudaAttentionTests\\($portable\\)\\.[^F]")
    for meaning in all causal window corner capped biased; do parts+=("CudaAttentionTests\\($portable\\)\\.F.*\"$meaning\""); done
done

# What the checkers look at: tests, after a part of the names of the kernels that they are for, or a dash for all, and of how many launches
# of them, if not all. The others that these tests run, those that results are compared with and cuBLASLt's, run as always.
checks=('- KernelTests\("cuda"\)\.[^EG]|CudaJoinedTests|DeviceTests\.TopK.*cuda'
    'fused:1 CudaTests\.Sums'
    'column_sums CudaColumnSumsTests'
    '- FewRowsTests\.(Queries|Gate).*cuda'
    '- FewRowsTests\.A.*cuda'
    '- GroupedStepTests\.(Dispatch|AnEpilogue).*cuda'
    '- GroupedStepTests\.(ProductsAgree|GradientsAgree).*"(cuda)".*,(2|40),2,'
    'product_hopper GroupedStepTests\.(NarrowRows.*"mixed",40,.*BF16|ProductsBeside.*"mixed")'
    'product_hopper GroupedStepTests\.Many.*OnTheGpu'
    'product_hopper CudaTests\.NarrowProducts.*F32'
    'product_deferred CudaDeferredProductTests\.(Every.*BF16|Odd)'
    'product_deferred CudaDeferredProductTests\.(Many|Products|ASum)'
    'choose_token ChooseTests\.(Every.*"cuda",(37|1025),0\.8d?\)|Equals.*"cuda",1d?,7,|ARow.*"cuda")'
    'choose_token:1 ChooseTests\.What.*"cuda",1'
    '- DeviceAttentionTests\("cuda"'
    'attention CudaAttentionTests\(False\)\.(QueriesBehindAPast\("causal",(1|5),(64|128)\)|OneQuery.*,(200|900)\))'
    'attention CudaAttentionTests\(True\)\.(ForwardAndGradient\("(causal|biased)",BF16,(64|128),150\)|QueriesBehindAPast\("causal",5,64\))'
    'attention CudaAttentionTests\(False\)\.ForwardAndGradient\("causal",BF16,(128|256),150\)'
    'attention_gradient CudaAttentionTests\(False\)\.ForwardAndGradient\("(all|causal|corner)",BF16,(40|64),150\)'
    'attention_gradient CudaAttentionTests\(False\)\.ForwardAndGradient\("(window|capped|biased)",BF16,64,150\)'
    'attention_gradient:1 CudaAttentionTests\(False\)\.Long.*\("causal",64,36\)')

# part STAGE PATTERN COMMAND...: the command over the tests of a pattern; what it prints, whether all went well, and the count of its tests.
part() {
    local stage=$1 pattern=$2 file result=passed start=$SECONDS
    shift 2
    file=$(mktemp -p "$work")
    timeout "${GPU_SUITE_SECONDS:-600}" "$@" $tests "$pattern" > "$file" 2>&1 || { [ $? = 124 ] && result="FAILED, out of time," || result=FAILED; }
    {
        flock 9
        echo "== $stage $pattern: $result in $((SECONDS - start)) s"
        cat "$file"
        echo "$result $(grep -E '^[0-9]+ passed, ' "$file")" >> "$work/$stage"
    } 9> "$work/lock"
}

# summary STAGE START: the line that ends a stage.
summary() {
    local bad=$(grep -c FAILED "$work/$1") counts=$(awk '/ passed, /{ for (i = 2; i < NF; i++) if ($(i + 1) ~ /^passed/) p += $i; else if ($(i + 1) ~ /^failed/) f += $i; else if ($(i + 1) ~ /^skipped/) s += $i } END { print p + 0 " passed, " f + 0 " failed, " s + 0 " skipped" }' "$work/$1")
    [ "$bad" = 0 ] || failed=1
    echo "=== $1: $([ "$bad" = 0 ] && echo clean || echo "$bad of its parts FAILED"), $(wc -l < "$work/$1") parts, tests: $counts, $((SECONDS - $2)) s"
}

checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
for stage in $stages; do
    start=$SECONDS
    case $stage in
    suite)
        for pattern in "${parts[@]}"; do part suite "$pattern" & done
        ;;
    memcheck | racecheck | synccheck)
        if [ -z "$checker" ]; then
            echo "=== $stage: skipped, compute-sanitizer isn't here"
            continue
        fi
        # racecheck takes a lane's arrival at a barrier for that lane's alone, and would report what one lane has said for its warp.
        [ $stage = racecheck ] && export LEGATO_NVRTC_OPTIONS=-DWARP_ARRIVALS=32 || unset LEGATO_NVRTC_OPTIONS
        for check in "${checks[@]}"; do
            kernel=${check%% *}
            filter=()
            [ "$kernel" = - ] || filter=(--kernel-name "kns=${kernel%:*}")
            [[ $kernel != *:* ]] || filter+=(--launch-count "${kernel#*:}")
            part $stage "${check#* }" "$checker" --tool $stage "${filter[@]}" --error-exitcode 1 &
        done
        ;;
    *)
        echo "no stage is called '$stage': suite, memcheck, racecheck, synccheck"
        exit 2
        ;;
    esac
    wait
    summary $stage $start
done
exit $failed
