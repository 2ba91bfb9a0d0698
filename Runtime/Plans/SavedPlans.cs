using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Plans;

/// <summary>
/// A folder of saved plans: <c>model.json</c>, the model's description, and a file a plan, named by what it was asked for.
/// A model runs from it without the compiler.
/// </summary>
public sealed class SavedPlans : IPlanSource
{
    private const string ModelFile = "model.json";

    private readonly string folder;

    /// <exception cref="LegatoException">The folder has no model's description, or a damaged one.</exception>
    public SavedPlans(string folder)
    {
        this.folder = folder;
        Model = PlanFile.LoadModel(Path.Combine(folder, ModelFile));
    }

    public ModelDescription Model { get; }

    /// <summary>Saves the plans that a source gives for some requests, and the model's description.</summary>
    /// <exception cref="LegatoException">A request can't be met, the folder can't be written, or it holds another model's plans.</exception>
    public static void Save(string folder, IPlanSource source, params IEnumerable<PlanRequest> requests)
    {
        string modelFile = Path.Combine(folder, ModelFile), model = PlanFile.Write(source.Model);
        if (File.Exists(modelFile) && File.ReadAllText(modelFile) != model)
            throw new LegatoException("the folder holds the plans of another model", folder, "choose another folder, or empty this one");
        if (!File.Exists(modelFile) && Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
            throw new LegatoException("the folder isn't empty, and what it holds are no saved plans", folder, "choose a folder that is empty, or not there yet");
        // All are made before the first is written.
        (string File, Plan Plan)[] plans = [.. requests.Select(request => (FileName(request), source.Plan(request)))];
        AtomicWrite.Into(folder, place =>
        {
            foreach ((string file, Plan plan) in plans)
                PlanFile.Save(Path.Combine(place, file), plan);
            AtomicWrite.Text(Path.Combine(place, ModelFile), model);
        });
    }

    /// <exception cref="LegatoException">No plan was saved for this request, or it is damaged.</exception>
    public Plan Plan(PlanRequest request)
    {
        string path = Path.Combine(folder, FileName(request));
        if (File.Exists(path))
            return PlanFile.Load(path);
        string[] saved = [.. Directory.GetFiles(folder, "*.plan.json").Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)];
        throw new LegatoException(
            $"no plan {FileName(request)} was saved", folder,
            $"ask for one of {string.Join(", ", saved)}, or save it with `legato plan --save`");
    }

    /// <summary>The file of a request, such as <c>decode-fp32-batch8-seq1-context256.plan.json</c>.</summary>
    public static string FileName(PlanRequest request)
    {
        string name = $"{request.Purpose.ToString().ToLowerInvariant()}-{request.Precision}-batch{request.Batch}-seq{request.Sequence}-context{request.Context}";
        if (request.Source != 0)
            name += $"-source{request.Source}";
        if (request.Accumulate != 1)
            name += $"-accumulate{request.Accumulate}";
        if (request.Rematerialisation != Rematerialisation.None)
            name += $"-remat-{request.Rematerialisation.ToString().ToLowerInvariant()}";
        if (request.IsPacked)
            name += "-packed";
        if (request.Dropout != 0)
            name += FormattableString.Invariant($"-dropout{request.Dropout}");
        if (request.NarrowActivations)
            name += "-narrow";
        if (request.MostLogits != PlanRequest.DefaultMostLogits)
            name += $"-logits{request.MostLogits}";
        if (request.Optimizer is { } o && o != OptimizerSettings.Default)
            name += FormattableString.Invariant($"-adamw-{o.Beta1}-{o.Beta2}-{o.Epsilon}-{o.WeightDecay}-{o.Clip}");
        return name + ".plan.json";
    }
}
