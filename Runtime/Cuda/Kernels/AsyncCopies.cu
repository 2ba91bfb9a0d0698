// Copies to shared memory that go on while a warp does other things (cp.async, sm_80 and up), awaited group by group. Stands after Fragments.cu.

/// 16 bytes on their way to shared memory; zeros where they don't exist.
DEVICE void copy_async(uint4* to, const void* from, bool exists)
{
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(exists ? 16 : 0) : "memory");
}

DEVICE void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits for this thread's copies but those of its last groups.
template <int Pending> DEVICE void await_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory"); }
