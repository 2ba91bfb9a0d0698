#!/bin/bash
# gpu-suite.sh [FOLDER]: the device suite on a machine that has a GPU and the .NET runtime, no SDK: from the folder that
# Tests/CSharp was built into. Then NVIDIA's checkers of memory accesses and of races over its kernels, where they are installed.
# Parts run beside each other: compiling kernels takes longest, and what one run has compiled the next ones find.
folder=${1:-$(dirname "$0")/CSharp/bin/Release/net10.0}
tests="${DOTNET:-dotnet} $folder/Legato.Tests.CSharp.dll"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

parts=('KernelTests\("cuda"\)\.[EG]' 'KernelTests\("cuda"\)\.[^EG]' 'Cuda(Epilogue|Mistake|Gelu|Joined)?Tests\.' '(Device|FewRows|Choose)Tests.*cuda' '(DeviceAttention|GroupedStep)Tests.*cuda')
for portable in False True; do
    parts+=("CudaAttentionTests\\($portable\\)\\.[^F]")
    for meaning in all causal window corner capped biased; do parts+=("CudaAttentionTests\\($portable\\)\\.F.*\"$meaning\""); done
done

# run NAME COMMAND...: the command over every part; what it prints, part by part, and whether all went well.
run() {
    local name=$1 i pids=()
    shift
    for i in "${!parts[@]}"; do "$@" $tests "${parts[i]}" > "$work/$i" 2>&1 & pids[i]=$!; done
    for i in "${!parts[@]}"; do
        wait "${pids[i]}" && result=passed || { result=FAILED; failed=1; }
        echo "== $name ${parts[i]}: $result"
        cat "$work/$i"
    done
}

run suite
checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
if [ -z "$checker" ]; then
    echo "compute-sanitizer isn't here: memcheck and racecheck are skipped"
else
    run memcheck "$checker" --tool memcheck --error-exitcode 1
    # Left out of racecheck: the attention kernels of sm_90a, between whose producer warp and consumers it reports hazards. By the
    # code, mbarriers order these: what the producer writes is awaited by consumers at a barrier `full` (33 arrivals: its lanes and the
    # copy engine), and written again only after all consumer warps, each brought together by __syncwarp, have arrived at `empty`.
    kept=()
    for part in "${parts[@]}"; do [[ $part == *False* ]] || kept+=("$part"); done
    parts=("${kept[@]}")
    run racecheck "$checker" --tool racecheck --error-exitcode 1
fi
exit $failed
