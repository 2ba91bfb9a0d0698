#!/bin/bash
# gpu-suite.sh [FOLDER [STAGE...]]: the device suite on a machine that has a GPU and the .NET runtime, no SDK: from the folder that
# Tests/CSharp was built into. Then NVIDIA's checkers of memory accesses and of races over its kernels, where they are installed.
# STAGE: suite, memcheck, racecheck (default: all three, in this order).
# Parts run beside each other: compiling kernels takes longest, and what one run has compiled the next ones find.
folder=${1:-$(dirname "$0")/CSharp/bin/Release/net10.0}
shift
stages=${*:-suite memcheck racecheck}
tests="${DOTNET:-dotnet} $folder/Legato.Tests.CSharp.dll"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

parts=('KernelTests\("cuda"\)\.[EG]' 'KernelTests\("cuda"\)\.[^EG]' 'Cuda(ColumnSums|Epilogue|Mistake|Gelu|Joined)?Tests\.' 'CudaDeferredProductTests' '(Device|FewRows|Choose)Tests.*cuda' '(DeviceAttention|GroupedStep)Tests.*cuda')
for portable in False True; do
    parts+=("CudaAttentionTests\\($portable\\)\\.[^F]")
    for meaning in all causal window corner capped biased; do parts+=("CudaAttentionTests\\($portable\\)\\.F.*\"$meaning\""); done
done

# run NAME COMMAND...: the command over every part; what it prints, part by part, and whether all went well.
run() {
    local name=$1 i pids=()
    shift
    for i in "${!parts[@]}"; do
        (start=$SECONDS; "$@" $tests "${parts[i]}" > "$work/$i" 2>&1; code=$?; echo $((SECONDS - start)) > "$work/$i.seconds"; exit $code) & pids[i]=$!
    done
    for i in "${!parts[@]}"; do
        wait "${pids[i]}" && result=passed || { result=FAILED; failed=1; }
        echo "== $name ${parts[i]}: $result in $(cat "$work/$i.seconds") s"
        cat "$work/$i"
    done
}

checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
for stage in $stages; do
    if [ $stage != suite ] && [ -z "$checker" ]; then
        echo "compute-sanitizer isn't here: $stage is skipped"
        continue
    fi
    case $stage in
    suite) run suite ;;
    memcheck) run memcheck "$checker" --tool memcheck --error-exitcode 1 ;;
    racecheck)
        # Left out: the attention kernels of sm_90a, of which it reports ten hazards that are none: a consumer warp's reads of the work
        # item and of rows' sums before the producer writes them again. The warp is brought together by __syncwarp, and one lane arrives
        # at the mbarrier for all; racecheck takes a lane's arrival for that lane's alone. Shown on an H200 (CUDA 13.0): a kernel that does
        # nothing else is reported too, and is not when every lane arrives; nor are these kernels, with block barriers at the same places.
        every=("${parts[@]}")
        parts=()
        for part in "${every[@]}"; do [[ $part == *False* ]] || parts+=("$part"); done
        run racecheck "$checker" --tool racecheck --error-exitcode 1
        parts=("${every[@]}")
        ;;
    *)
        echo "no stage is called '$stage': suite, memcheck, racecheck"
        exit 2
        ;;
    esac
done
exit $failed
