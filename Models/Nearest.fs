/// Which of some names a mistyped one may have meant.
module internal Legato.Models.Nearest

// Insertions, deletions and substitutions between two texts (Wagner and Fischer 1974), a row of the table at a time.
let private distance (a: string) (b: string) =
    let next (row: int list) c =
        let step left (above, (diagonal, other)) = min (1 + min left above) (diagonal + if other = c then 0 else 1)

        List.scan step (row.Head + 1) (List.zip row.Tail (List.zip (List.take b.Length row) (List.ofSeq b)))

    List.fold next [ 0 .. b.Length ] (List.ofSeq a) |> List.last

/// The candidates most like the name, the best first.
let names count (name: string) (candidates: string seq) =
    let name = name.ToLowerInvariant()
    candidates |> Seq.sortBy (distance name) |> Seq.truncate count |> String.concat ", "
