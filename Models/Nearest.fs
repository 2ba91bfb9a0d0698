/// Which of some names a mistyped one may have meant.
module internal Legato.Models.Nearest

// Insertions, deletions and substitutions between two texts (Wagner and Fischer 1974), a row of the table at a time.
let private distance (a: string) (b: string) =
    let next (row: int list) c =
        let step left (above, (diagonal, other)) = min (1 + min left above) (diagonal + if other = c then 0 else 1)

        List.scan step (row.Head + 1) (List.zip row.Tail (List.zip (List.take b.Length row) (List.ofSeq b)))

    List.fold next [ 0 .. b.Length ] (List.ofSeq a) |> List.last

let private isMisspeltWord (a: string) (b: string) =
    a = b || min a.Length b.Length >= 4 && distance a b <= (if min a.Length b.Length = 4 then 1 else 2)

/// The candidate that a key of words and underscores is, but for its capitals, its underscores or the letters of one word.
/// Words of three letters are too near to each other to judge.
let misspelt (key: string) (candidates: string seq) : string option =
    let words (text: string) = text.Split '_'
    let joined (text: string) = text.Replace("_", "").ToLowerInvariant()

    let isMeant candidate =
        joined key = joined candidate
        || (words key).Length = (words candidate).Length
           && Array.forall2 isMisspeltWord (words key) (words candidate)
           && Array.zip (words key) (words candidate) |> Array.filter (fun (a, b) -> a <> b) |> Array.length = 1

    candidates |> Seq.tryFind isMeant

/// The candidates that a name of a family and a size may have meant, the best first: few letters differ, or the family is the same.
let related count (name: string) (candidates: string seq) : string list =
    let plain (text: string) = text.Replace("-", "").ToLowerInvariant()
    let family (candidate: string) = candidate.Split('-')[0]
    let letters candidate = distance (plain name) (plain candidate)

    let isRelated candidate =
        letters candidate <= max 1 (name.Length / 3)
        || (plain name).StartsWith(family candidate)
        || name <> "" && (family candidate).StartsWith(plain name)

    candidates |> Seq.filter isRelated |> Seq.sortBy letters |> Seq.truncate count |> List.ofSeq

/// The candidates most like the name, the best first.
let names count (name: string) (candidates: string seq) =
    let name = name.ToLowerInvariant()
    candidates |> Seq.sortBy (distance name) |> Seq.truncate count |> String.concat ", "
