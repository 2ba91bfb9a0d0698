/// The language: axes, tensors, layers, and their elaboration into a graph.
namespace Legato.Dsl

[<assembly: System.Runtime.CompilerServices.InternalsVisibleTo "Legato.Compiler">]
[<assembly: System.Runtime.CompilerServices.InternalsVisibleTo "Legato.Tests">]
do ()
