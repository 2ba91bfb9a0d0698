// Masks are joined with &&&.
let mask = causal && window 128
