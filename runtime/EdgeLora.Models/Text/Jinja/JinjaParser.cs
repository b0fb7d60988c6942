namespace EdgeLora.Models;

/// <summary>Reads statements; expressions are in the other half of this class. The grammar is Jinja 3.1's with loop controls and generation blocks.</summary>
internal sealed partial class JinjaParser
{
    private static readonly string[] Constants = ["true", "false", "none", "True", "False", "None"];

    private readonly List<JinjaToken> tokens;
    private readonly Dictionary<string, JinjaStatement> blocks = new(StringComparer.Ordinal);
    private readonly Stack<string> tags = new();
    private readonly Stack<string[]> wanted = new();
    private readonly Stack<HashSet<string>> macroNames = new();
    // Filters and tests that do not exist: an error at once, unless they stand where a condition may skip them.
    private readonly List<ChatTemplateException> unknown = [];
    private int at, loops, nesting;
    private bool marksGeneration;

    private JinjaParser(string source) => tokens = JinjaLexer.Tokenize(source);

    public static (JinjaStatement Body, IReadOnlyDictionary<string, JinjaStatement> Blocks, bool MarksGeneration) Parse(string source)
    {
        JinjaParser parser = new(source);
        JinjaStatement body = parser.Statements(null);
        parser.FailUnknown(0);
        return (body, parser.blocks, parser.marksGeneration);
    }

    private JinjaToken Current => tokens[at];

    private JinjaToken Ahead => tokens[Math.Min(at + 1, tokens.Count - 1)];

    private JinjaToken Next()
    {
        JinjaToken token = tokens[at];
        if (at < tokens.Count - 1)
            at++;
        return token;
    }

    private bool Skip(string kind)
    {
        if (Current.Kind != kind)
            return false;
        Next();
        return true;
    }

    private bool SkipName(string name)
    {
        if (!Current.IsName(name))
            return false;
        Next();
        return true;
    }

    private JinjaToken Expect(string kind)
    {
        if (Current.Kind == kind)
            return Next();
        string expected = new JinjaToken(kind, kind, null, 0).Described;
        throw Fail(Current.Kind == "eof"
            ? $"unexpected end of template, expected '{expected}'."
            : $"expected token '{expected}', got {PyText.Repr(Current.Described)}");
    }

    private void ExpectName(string name)
    {
        if (!SkipName(name))
            throw Fail(Current.Kind == "eof" ? $"unexpected end of template, expected '{name}'." : $"expected token '{name}', got {PyText.Repr(Current.Described)}");
    }

    private ChatTemplateException Fail(string message) => ChatTemplateException.Syntax(message, Current.Line);

    private void FailUnknown(int from)
    {
        if (unknown.Count > from)
            throw unknown[from];
    }

    // Statements up to one of the end tags, which stays the current token; null reads to the end of the template.
    private JinjaStatement Statements(string[]? ends)
    {
        Enter();
        List<JinjaStatement> body = [];
        if (ends is not null)
            wanted.Push(ends);
        while (Current.Kind != "eof")
        {
            JinjaToken token = Next();
            if (token.Kind == "data")
                body.Add(new TextStatement(token.Text));
            else if (token.Kind == "variable_begin")
            {
                body.Add(new PrintStatement(Tuple(), token.Line));
                Expect("variable_end");
            }
            else
            {
                if (ends is not null && Current.Kind == "name" && ends.Contains(Current.Text))
                {
                    wanted.Pop();
                    nesting--;
                    return new BodyStatement(body);
                }
                body.Add(Statement());
                Expect("block_end");
            }
        }
        if (ends is not null)
            throw FailTag(null);
        nesting--;
        return new BodyStatement(body);
    }

    // The body of a tag: from its end mark to an end tag. Scopes of their own forgive no unknown filter.
    private JinjaStatement Body(bool ownScope, params string[] ends)
    {
        int mark = unknown.Count;
        Skip(":");
        Expect("block_end");
        JinjaStatement body = Statements(ends);
        if (ownScope)
            FailUnknown(mark);
        return body;
    }

    private JinjaStatement ClosedBody(bool ownScope, string end)
    {
        JinjaStatement body = Body(ownScope, end);
        Next();
        return body;
    }

    private JinjaStatement Statement()
    {
        if (Current.Kind != "name")
            throw Fail("tag name expected");
        JinjaToken tag = Current;
        tags.Push(tag.Text);
        JinjaStatement statement = tag.Text switch
        {
            "for" => For(),
            "if" => If(),
            "set" => Set(),
            "with" => With(),
            "macro" => Macro(),
            "call" => CallBlock(),
            "filter" => FilterBlock(),
            "generation" => Generation(),
            "block" => Block(),
            "print" => Print(),
            "autoescape" => AutoEscape(),
            "include" or "import" or "from" or "extends" => Load(),
            "break" or "continue" => Jump(),
            _ => throw FailTag(tag.Text),
        };
        tags.Pop();
        return statement;
    }

    private ChatTemplateException FailTag(string? name)
    {
        if (name is not null)
            tags.Pop();
        string message = name is null ? "Unexpected end of template." : $"Encountered unknown tag '{name}'.";
        if (wanted.Count > 0)
        {
            string looking = string.Join(" or ", wanted.Peek().Select(w => $"'{w}'"));
            message += name is not null && wanted.Any(w => w.Contains(name))
                ? $" You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for {looking}."
                : $" Jinja was looking for the following tags: {looking}.";
        }
        if (tags.Count > 0)
            message += $" The innermost block that needs to be closed is '{tags.Peek()}'.";
        return Fail(message);
    }

    private ForStatement For()
    {
        int line = Next().Line;
        JinjaExpression target = Target("in");
        ExpectName("in");
        JinjaExpression items = Tuple(condition: false, end: "recursive");
        int inner = unknown.Count;
        JinjaExpression? test = SkipName("if") ? Expression() : null;
        FailUnknown(inner);
        bool recursive = SkipName("recursive");
        loops++;
        JinjaStatement body = Body(true, "endfor", "else");
        loops--;
        JinjaStatement? otherwise = Next().Text == "endfor" ? null : ClosedBody(true, "endfor");
        return new(target, items, test, recursive, body, otherwise, line);
    }

    private IfStatement If()
    {
        int line = Next().Line, mark = unknown.Count;
        List<(JinjaExpression, JinjaStatement)> branches = [];
        JinjaStatement? otherwise = null;
        while (true)
        {
            JinjaExpression test = Tuple(condition: false);
            branches.Add((test, Body(false, "elif", "else", "endif")));
            string end = Next().Text;
            if (end == "elif")
                continue;
            if (end == "else")
                otherwise = ClosedBody(false, "endif");
            unknown.RemoveRange(mark, unknown.Count - mark);
            return new(branches, otherwise, line);
        }
    }

    private JinjaStatement Set()
    {
        int line = Next().Line;
        JinjaExpression target = Target(null, namespaces: true);
        if (Skip("="))
            return new SetStatement(target, Tuple(), line);
        FilterExpression? filter = (FilterExpression?)Filters(null);
        return new CaptureStatement(ClosedBody(true, "endset"), filter, target, false, line);
    }

    private WithStatement With()
    {
        Next();
        List<(JinjaExpression, JinjaExpression)> values = [];
        while (Current.Kind != "block_end")
        {
            if (values.Count > 0)
                Expect(",");
            JinjaExpression target = Target(null);
            Expect("=");
            values.Add((target, Expression()));
        }
        return new(values, ClosedBody(true, "endwith"));
    }

    private MacroStatement Macro()
    {
        Next();
        string name = AssignableName();
        return new(Definition(name, "endmacro", Signature()));
    }

    private CallBlockStatement CallBlock()
    {
        int line = Next().Line;
        (List<string>, List<JinjaExpression?>) signature = Current.Kind == "(" ? Signature() : ([], []);
        if (Expression() is not CallExpression call)
            throw Fail("expected call");
        return new(Definition("caller", "endcall", signature), call, line);
    }

    private MacroDefinition Definition(string name, string end, (List<string> Parameters, List<JinjaExpression?> Defaults) signature)
    {
        macroNames.Push([]);
        int outer = loops;
        loops = 0;
        JinjaStatement body = ClosedBody(true, end);
        loops = outer;
        HashSet<string> used = macroNames.Pop();
        if (macroNames.Count > 0)
            macroNames.Peek().UnionWith(used);
        return new(name, signature.Parameters, signature.Defaults, body, used.Contains("caller"), used.Contains("varargs"), used.Contains("kwargs"));
    }

    private (List<string>, List<JinjaExpression?>) Signature()
    {
        List<string> parameters = [];
        List<JinjaExpression?> defaults = [];
        Expect("(");
        while (Current.Kind != ")")
        {
            if (parameters.Count > 0)
                Expect(",");
            parameters.Add(AssignableName());
            if (Skip("="))
                defaults.Add(Expression());
            else if (defaults.Any(d => d is not null))
                throw Fail("non-default argument follows default argument");
            else
                defaults.Add(null);
        }
        Next();
        return (parameters, defaults);
    }

    private CaptureStatement FilterBlock()
    {
        int line = Next().Line;
        FilterExpression filter = (FilterExpression)Filters(null, inline: true)!;
        return new(ClosedBody(true, "endfilter"), filter, null, false, line);
    }

    private CaptureStatement Generation()
    {
        int line = Next().Line;
        marksGeneration = true;
        return new(ClosedBody(true, "endgeneration"), null, null, true, line);
    }

    private BlockStatement Block()
    {
        Next();
        string name = Expect("name").Text;
        bool scoped = SkipName("scoped");
        SkipName("required");
        if (Current.Kind == "-")
            throw Fail("Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead.");
        JinjaStatement body = ClosedBody(true, "endblock");
        SkipName(name);
        if (!blocks.TryAdd(name, body))
            throw new ChatTemplateException(ChatTemplateErrorKind.TemplateAssertionError, $"block {PyText.Repr(name)} defined twice");
        return new(body, scoped);
    }

    private BodyStatement Print()
    {
        int line = Next().Line;
        List<JinjaStatement> printed = [];
        while (Current.Kind != "block_end")
        {
            if (printed.Count > 0)
                Expect(",");
            printed.Add(new PrintStatement(Expression(), line));
        }
        return new(printed);
    }

    // Nothing is escaped in chat templates; the block is a scope all the same.
    private WithStatement AutoEscape()
    {
        Next();
        _ = Expression();
        return new([], ClosedBody(true, "endautoescape"));
    }

    private LoadStatement Load()
    {
        Next();
        JinjaExpression template = Expression();
        while (Current.Kind is not ("block_end" or "eof"))
            Next();
        return new(template);
    }

    private JumpStatement Jump()
    {
        JinjaToken tag = Next();
        if (loops == 0)
            throw ChatTemplateException.Syntax($"'{tag.Text}' outside loop", tag.Line);
        return new(tag.Text == "break" ? JinjaFlow.Break : JinjaFlow.Continue);
    }

    private string AssignableName()
    {
        JinjaToken token = Expect("name");
        return Constants.Contains(token.Text) ? throw Fail("can't assign to 'const'") : token.Text;
    }

    // Names, tuples of names, and in set also ns.x.
    private JinjaExpression Target(string? end, bool namespaces = false)
    {
        JinjaExpression One()
        {
            if (Current.Kind == "(")
            {
                Next();
                JinjaExpression inner = Target(")", namespaces);
                Expect(")");
                return inner;
            }
            if (Current.Kind != "name")
                throw Fail(Current.Kind is "string" or "integer" or "float" ? "can't assign to 'const'" : $"unexpected {PyText.Repr(Current.Described)}");
            if (namespaces && Ahead.Kind == ".")
            {
                string owner = Next().Text;
                Next();
                return new NamespaceTarget(owner, Expect("name").Text);
            }
            return new NameExpression(AssignableName());
        }
        bool Ends() => Current.Kind is "variable_end" or "block_end" or ")" or "=" || (end is not null && Current.IsName(end));
        List<JinjaExpression> items = [One()];
        bool tuple = false;
        while (Skip(","))
        {
            tuple = true;
            if (Ends())
                break;
            items.Add(One());
        }
        return tuple ? new SequenceExpression(items, true) : items[0];
    }
}
