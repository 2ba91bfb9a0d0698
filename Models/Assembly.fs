/// Architectures, each a page, with their presets and their Hugging Face names as data.
namespace Legato.Models

[<assembly: System.Runtime.CompilerServices.InternalsVisibleTo "Legato.Tests">]
do ()
