#!/bin/sh
# gpu-suite.sh [FOLDER]: the device suite on a machine that has a GPU and the .NET runtime, no SDK: from the folder that
# Tests/CSharp was built into. Then NVIDIA's checkers of memory accesses and of races over its kernels, where they are installed.
folder=${1:-$(dirname "$0")/CSharp/bin/Release/net10.0}
tests="${DOTNET:-dotnet} $folder/Legato.Tests.CSharp.dll"
failed=0
$tests '[Cc]uda' || failed=1
checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
if [ -z "$checker" ]; then
    echo "compute-sanitizer isn't here: memcheck and racecheck are skipped"
else
    "$checker" --tool memcheck --error-exitcode 1 $tests 'KernelTests.*cuda|CudaAttention.*150|CudaTests' || failed=1
    "$checker" --tool racecheck --error-exitcode 1 $tests 'KernelTests.*cuda|CudaAttention.*BF16,64,150' || failed=1
fi
exit $failed
