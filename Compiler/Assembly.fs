/// From graph to plan, one pass a file: differentiate, place, specialise, simplify, fuse, schedule, lay out memory.
namespace Legato.Compiler

[<assembly: System.Runtime.CompilerServices.InternalsVisibleTo "Legato.Tests">]
do ()
