using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Products of matrices: of few rows, several as one, with what follows them taken in where a kernel or cuBLASLt can.</summary>
internal sealed partial class CudaLowering
{
    /// <summary>
    /// Adds products of few rows as one launch, if its kernel takes them, and the kernels after them that go through their
    /// elements: the number of those, or null.
    /// </summary>
    /// <param name="before">A kernel that makes their left operand, as part of the launch; null where they are to have none.</param>
    private int? AddSkinny(ProductRun run, IReadOnlyList<Step> following, Step.Fused? before = null)
    {
        CudaSkinnyProduct?[][] products = [.. run.Chains.Select(chain => chain.Select(step => CudaSkinnyProduct.Of(step, this)).ToArray())];
        if (products.Any(chain => chain.Contains(null) || chain.Length != products[0].Length))
            return null;
        CudaSkinnyPrologue? prologue = before is null ? null : CudaSkinnyPrologue.Of(before, run, CudaSkinnyLaunch.Threads, this);
        if (before is not null && prologue is null)
            return null;
        CudaSkinnyChain[] chains = Chains(), plain = Chains();
        int followers = following.TakeWhile(step => step is Step.Fused fused && chains.Any(chain => chain.TryFollow(fused, IsFree))).Count();
        long distance = chains.Max(chain => chain.Distance);
        if (distance > 0 && !chains.All(chain => chain.TryPair(distance)))
            (chains, followers) = (plain, 0);
        bool prefetches = resources.Plan.Purpose != Purpose.Train
            && run.Chains.All(chain => chain.All(step => IsParameter(step.Right.View)));
        if (prologue is not null && prologue.Reads.Any(view => !IsFree(view, Access.Read)))
            return null;
        Add(new CudaSkinnyLaunch(chains, prologue, prefetches, this));
        return followers;

        CudaSkinnyChain[] Chains() => [.. products.Select(chain => new CudaSkinnyChain(chain!, this))];

        bool IsFree(CudaView view, Access access) => !chains.SelectMany(chain => chain.Touched)
            .Any(touched => (access != Access.Read || touched.Access != Access.Read) && touched.View.Overlaps(view));
    }

    /// <summary>Adds products as one launch, if a kernel of our own may compute them so: their number, or null.</summary>
    private int? AddJoined(IReadOnlyList<Step> steps, int first)
    {
        if (runs.At(steps, first) is not { } run)
            return null;
        JoinedProducts? products = JoinedProducts.Beside(run)
            ?? JoinedProducts.Combined(run, view => IsPassing(view, 1), Bounds)
            ?? JoinedProducts.Summed(steps.Skip(first), view => IsPassing(view, 1), (x, y) => View(x).Overlaps(View(y)));
        if (products is null || products.Steps.Any(p => CudaSkinnyProduct.Of(p, this) is not null || AlignedProducts.Of(p, TypeOf(p.Left.View)).Count() > 1))
            return null;
        bool areCombined = products.Join == ProductJoin.Combined;
        CudaProductLaunch?[] apart = [.. products.Steps.Select(p => Apart(areCombined ? p with { Epilogue = null, EpilogueOperands = [] } : p))];
        Lazy<CudaLaunch>? combination = areCombined ? AfterProduct(products.Steps[^1]) : null;
        if (apart.Contains(null) || CudaJoinedProductLaunch.Of(products, apart!, combination, this) is not { } launch)
            return null;
        Begin();
        Add(launch);
        return products.Steps.Count;

        CudaProductLaunch? Apart(Step.MatrixProduct p)
        {
            CudaView left = View(p.Left.View), right = View(p.Right.View), output = View(p.Output.View);
            return p.Epilogue is null ? new CudaProductLaunch(p, left, right, output, this) : Ended(p, left, right, [output, .. Views(p.EpilogueOperands)]);
        }

        Lazy<CudaLaunch> AfterProduct(Step.MatrixProduct p)
        {
            CudaView[] views = [View(p.Output.View), .. Views(p.EpilogueOperands)];
            Kernel epilogue = ToGrid(Whole(p.Epilogue!, p.M, p.N), views);
            return new Lazy<CudaLaunch>(() => new CudaKernelLaunch(EpilogueName(p.Name), Cost.Zero, epilogue, views, this));
        }
    }

    private void AddProduct(Step.MatrixProduct product)
    {
        if (AddSkinny(new ProductRun([[product]]), []) is not null)
            return;
        CudaView left = View(product.Left.View), right = View(product.Right.View), output = View(product.Output.View);
        Step.MatrixProduct[] parts = [.. AlignedProducts.Of(product, left.Type)];
        if (parts.Length == 1 && AddWithEpilogue(product, left, right, output))
            return;
        CudaProductLaunch whole = Whole(product);
        if (parts.Length == 1)
            Add(whole);
        else if (whole.TakesOddSizes)
            Add(new CudaOddProductLaunch(product, whole, [.. parts.Select(Whole)], this));
        else
            foreach (Step.MatrixProduct part in parts)
                Add(Whole(part));
        AddEpilogue(product.Name, product.Epilogue, product.M, product.N, [output, .. Views(product.EpilogueOperands)]);

        CudaProductLaunch Whole(Step.MatrixProduct p) => new(p, View(p.Left.View), View(p.Right.View), View(p.Output.View), this);
    }

    private void AddGroupedProduct(Step.GroupedProduct product)
    {
        CudaView[] written = [View(product.Output.View), .. Views(product.EpilogueOperands)];
        var left = new CudaGroupedMatrix(product.Left, product.K, this);
        Add(new CudaGroupedProductLaunch(product, new CudaRowGroups(product.Rows, this), left, View(product.Right.View), written[0], this));
        AddEpilogue(product.Name, product.Epilogue, product.Rows.Count, product.N, written);
        Gathered.Pass(written);
    }

    /// <summary>An epilogue over the whole output, after its product.</summary>
    private void AddEpilogue(string name, Kernel? epilogue, Extent rows, Extent columns, CudaView[] views)
    {
        if (epilogue is not null)
            AddKernels([new CudaKernelCall(EpilogueName(name), Cost.Zero, Whole(epilogue, rows, columns), views)]);
    }

    /// <summary>A product whose epilogue cuBLASLt takes in; false for others.</summary>
    private bool AddWithEpilogue(Step.MatrixProduct product, CudaView left, CudaView right, CudaView output)
    {
        if (Ended(product, left, right, [output, .. Views(product.EpilogueOperands)]) is not { } launch)
            return false;
        Add(launch);
        return true;
    }

    /// <summary>A product and its epilogue as one; null where cuBLASLt doesn't take it in.</summary>
    /// <param name="views">The output, and what the epilogue reads.</param>
    private CudaProductLaunch? Ended(Step.MatrixProduct product, CudaView left, CudaView right, CudaView[] views)
    {
        if (ProductEpilogue.Of(product) is not { } added || left.Type != views[0].Type || (added.GeluInput is not null && left.Type == ScalarType.F32))
            return null;
        CudaView? Operand(int? index) => index is { } at ? views[at] : null;
        if (Operand(added.Bias) is { } bias && bias.Alignment * bias.Type.Size() < CudaProduct.BiasAlignment)
            return null;
        Kernel epilogue = ToGrid(Whole(product.Epilogue!, product.M, product.N), views);
        _ = Write(epilogue, views);
        Step.MatrixProduct plain = product with { Epilogue = null, EpilogueOperands = [] };
        var apart = new Lazy<CudaLaunch[]>(() =>
            [new CudaProductLaunch(plain, left, right, views[0], this), new CudaKernelLaunch(EpilogueName(product.Name), Cost.Zero, epilogue, views, this)]);
        ProductActivation activation = added.GeluInput is null ? ProductActivation.None : ProductActivation.GeluSlope;
        return new CudaProductLaunch(
            product, left, right, views[0],
            new ProductEnd(Operand(added.Bias), Operand(added.Addend), activation, Operand(added.GeluInput), product.Output.RowStride.Constant, apart), this);
    }

    /// <summary>A product, and GELU of all that it gives in the step after it, as one; false for other steps, and where cuBLASLt doesn't take it in.</summary>
    private bool AddWithGelu(Step step, Step next)
    {
        if (step is not Step.MatrixProduct product || next is not Step.Fused map || GeluOfProduct.Of(product, map) is not { } gelu)
            return false;
        CudaView left = View(product.Left.View), right = View(product.Right.View), result = View(gelu.Result.View);
        CudaView[] views = [View(product.Output.View), .. Views(product.EpilogueOperands)];
        CudaView? bias = gelu.Bias is { } at ? views[at] : null;
        bool isTaken = left.Type is ScalarType.BF16 or ScalarType.F16 && left.Type == right.Type && left.Type == views[0].Type && left.Type == result.Type
            && (bias is null || bias.Alignment * bias.Type.Size() >= CudaProduct.BiasAlignment)
            && !views.Append(left).Append(right).Any(result.Overlaps)
            && CudaSkinnyProduct.Of(product, this) is null && AlignedProducts.Of(product, left.Type).Count() == 1;
        if (!isTaken)
            return false;
        Begin();
        CudaView[] mapped = Views(map.Operands);
        Kernel kernel = ToGrid(map.Kernel, mapped);
        _ = Write(kernel, mapped);
        var apart = new Lazy<CudaLaunch[]>(() =>
            [Ended(product, left, right, views) ?? new CudaProductLaunch(product, left, right, views[0], this), new CudaKernelLaunch(map.Name, map.Cost, kernel, mapped, this)]);
        Step.MatrixProduct whole = product with { Cost = product.Cost + map.Cost, Output = gelu.Result };
        Add(new CudaProductLaunch(
            whole, left, right, result, new ProductEnd(bias, null, ProductActivation.Gelu, views[0], product.Output.RowStride.Constant, apart), this));
        return true;
    }

    private static string EpilogueName(string product) => product + " epilogue";

    private static Kernel Whole(Kernel epilogue, Extent rows, Extent columns) => SpellingMemo.Of(
        epilogue, ("whole", rows, columns), () => epilogue.Applied([new Expr.Integer(0), SizeOf(rows), new Expr.Integer(0), SizeOf(columns)]));
}
