using System.Text;

namespace EdgeLora.Models;

internal sealed partial class JinjaParser
{
    private JinjaExpression Tuple(bool condition = true, string? end = null, bool parentheses = false)
    {
        List<JinjaExpression> items = [];
        bool tuple = false;
        while (true)
        {
            if (items.Count > 0 && !Skip(","))
                break;
            tuple |= items.Count > 0;
            if (Current.Kind is "variable_end" or "block_end" or ")" || (end is not null && Current.IsName(end)))
                break;
            items.Add(condition ? Expression() : Or());
        }
        if (tuple)
            return new SequenceExpression(items, true);
        if (items.Count > 0)
            return items[0];
        if (!parentheses)
            throw Fail($"Expected an expression, got {PyText.Repr(Current.Described)}");
        return new SequenceExpression([], true);
    }

    private JinjaExpression Expression()
    {
        Enter();
        int mark = unknown.Count;
        JinjaExpression value = Or();
        while (SkipName("if"))
        {
            JinjaExpression test = Or();
            value = new ConditionalExpression(test, value, SkipName("else") ? Expression() : null);
            // Either side may be skipped at run time, so a filter unknown there only matters when it is reached.
            unknown.RemoveRange(mark, unknown.Count - mark);
        }
        nesting--;
        return value;
    }

    // Left by counting down; after a fault nobody goes on.
    private void Enter()
    {
        JinjaLimits.GuardStack();
        if (++nesting > JinjaLimits.MaxNesting)
            throw new ChatTemplateException(ChatTemplateErrorKind.RecursionError, $"maximum recursion depth exceeded: more than {JinjaLimits.MaxNesting} expressions or blocks inside one another");
    }

    private JinjaExpression Or()
    {
        JinjaExpression left = And();
        while (SkipName("or"))
            left = new BinaryExpression("or", left, And());
        return left;
    }

    private JinjaExpression And()
    {
        JinjaExpression left = Not();
        while (SkipName("and"))
            left = new BinaryExpression("and", left, Not());
        return left;
    }

    private JinjaExpression Not()
    {
        Enter();
        JinjaExpression value = SkipName("not") ? new UnaryExpression("not", Not()) : Compare();
        nesting--;
        return value;
    }

    private JinjaExpression Compare()
    {
        JinjaExpression first = Sum();
        List<(string, JinjaExpression)> rest = [];
        while (true)
        {
            if (Current.Kind is "==" or "!=" or "<" or "<=" or ">" or ">=")
                rest.Add((Next().Kind, Sum()));
            else if (SkipName("in"))
                rest.Add(("in", Sum()));
            else if (Current.IsName("not") && Ahead.IsName("in"))
            {
                Next();
                Next();
                rest.Add(("not in", Sum()));
            }
            else
                return rest.Count == 0 ? first : new CompareExpression(first, rest);
        }
    }

    private JinjaExpression Sum()
    {
        JinjaExpression left = Concat();
        while (Current.Kind is "+" or "-")
            left = new BinaryExpression(Next().Kind, left, Concat());
        return left;
    }

    private JinjaExpression Concat()
    {
        List<JinjaExpression> parts = [Product()];
        while (Skip("~"))
            parts.Add(Product());
        return parts.Count == 1 ? parts[0] : new ConcatExpression(parts);
    }

    private JinjaExpression Product()
    {
        JinjaExpression left = Power();
        while (Current.Kind is "*" or "/" or "//" or "%")
            left = new BinaryExpression(Next().Kind, left, Power());
        return left;
    }

    private JinjaExpression Power()
    {
        JinjaExpression left = Unary();
        while (Skip("**"))
            left = new BinaryExpression("**", left, Unary());
        return left;
    }

    private JinjaExpression Unary(bool filters = true)
    {
        Enter();
        JinjaExpression value = Current.Kind is "-" or "+" ? new UnaryExpression(Next().Kind, Unary(false)) : Primary();
        value = Postfix(value);
        while (filters)
        {
            if (Current.Kind == "|")
                value = Filters(value)!;
            else if (Current.IsName("is"))
                value = Test(value);
            else if (Current.Kind == "(")
                value = new CallExpression(value, Arguments());
            else
                break;
        }
        nesting--;
        return value;
    }

    private JinjaExpression Primary()
    {
        JinjaToken token = Next();
        switch (token.Kind)
        {
            case "name":
                if (Constants.Contains(token.Text))
                    return new ConstantExpression(token.Text is "true" or "True" ? true : token.Text is "false" or "False" ? false : null);
                if (macroNames.Count > 0)
                    macroNames.Peek().Add(token.Text);
                return new NameExpression(token.Text);
            case "string":
                StringBuilder text = new(token.Text);
                while (Current.Kind == "string")
                    text.Append(Next().Text);
                return new ConstantExpression(text.ToString());
            case "integer" or "float":
                return new ConstantExpression(token.Value);
            case "(":
                JinjaExpression inner = Tuple(parentheses: true);
                Expect(")");
                return inner;
            case "[":
                List<JinjaExpression> items = [];
                while (Current.Kind != "]")
                {
                    if (items.Count > 0)
                        Expect(",");
                    if (Current.Kind == "]")
                        break;
                    items.Add(Expression());
                }
                Expect("]");
                return new SequenceExpression(items, false);
            case "{":
                List<(JinjaExpression, JinjaExpression)> pairs = [];
                while (Current.Kind != "}")
                {
                    if (pairs.Count > 0)
                        Expect(",");
                    if (Current.Kind == "}")
                        break;
                    JinjaExpression key = Expression();
                    Expect(":");
                    pairs.Add((key, Expression()));
                }
                Expect("}");
                return new DictExpression(pairs);
            default:
                throw ChatTemplateException.Syntax($"unexpected {PyText.Repr(token.Described)}", token.Line);
        }
    }

    private JinjaExpression Postfix(JinjaExpression value)
    {
        while (true)
        {
            if (Skip("."))
            {
                JinjaToken name = Next();
                value = name.Kind switch
                {
                    "name" => new AttributeExpression(value, name.Text),
                    "integer" => new ItemExpression(value, new ConstantExpression(name.Value)),
                    _ => throw ChatTemplateException.Syntax("expected name or number", name.Line),
                };
            }
            else if (Skip("["))
            {
                List<JinjaExpression> keys = [];
                while (Current.Kind != "]")
                {
                    if (keys.Count > 0)
                        Expect(",");
                    keys.Add(Subscript());
                }
                Expect("]");
                value = new ItemExpression(value, keys.Count == 1 ? keys[0] : new SequenceExpression(keys, true));
            }
            else if (Current.Kind == "(")
                value = new CallExpression(value, Arguments());
            else
                return value;
        }
    }

    private JinjaExpression Subscript()
    {
        JinjaExpression? Part() => Current.Kind is ":" or "]" or "," ? null : Expression();
        JinjaExpression? start = Current.Kind == ":" ? null : Expression();
        if (!Skip(":"))
            return start!;
        JinjaExpression? stop = Part();
        return new SliceExpression(start, stop, Skip(":") ? Part() : null);
    }

    private CallArguments Arguments()
    {
        CallArguments arguments = new();
        int line = Expect("(").Line;
        void Ensure(bool holds)
        {
            if (!holds)
                throw ChatTemplateException.Syntax("invalid syntax for function call expression", line);
        }
        bool first = true;
        while (Current.Kind != ")")
        {
            if (!first)
            {
                Expect(",");
                if (Current.Kind == ")")
                    break;
            }
            first = false;
            if (Skip("*"))
            {
                Ensure(arguments.Spread is null && arguments.NamedSpread is null);
                arguments.Spread = Expression();
            }
            else if (Skip("**"))
            {
                Ensure(arguments.NamedSpread is null);
                arguments.NamedSpread = Expression();
            }
            else if (Current.Kind == "name" && Ahead.Kind == "=")
            {
                Ensure(arguments.NamedSpread is null);
                string name = Next().Text;
                Next();
                arguments.Named.Add((name, Expression()));
            }
            else
            {
                Ensure(arguments.Spread is null && arguments.NamedSpread is null && arguments.Named.Count == 0);
                arguments.Positional.Add(Expression());
            }
        }
        Expect(")");
        return arguments;
    }

    private JinjaExpression? Filters(JinjaExpression? value, bool inline = false)
    {
        while (inline || Skip("|"))
        {
            inline = false;
            (string name, int line) = DottedName();
            CallArguments arguments = Current.Kind == "(" ? Arguments() : new();
            if (!JinjaFilters.Exists(name))
                unknown.Add(new(ChatTemplateErrorKind.TemplateAssertionError, $"No filter named {PyText.Repr(name)}.") { Line = line });
            value = new FilterExpression(value, name, arguments);
        }
        return value;
    }

    private JinjaExpression Test(JinjaExpression value)
    {
        Next();
        bool negated = SkipName("not");
        (string name, int line) = DottedName();
        CallArguments arguments = new();
        if (Current.Kind == "(")
            arguments = Arguments();
        else if (Current.Kind is "name" or "string" or "integer" or "float" or "[" or "{" && !(Current.IsName("else") || Current.IsName("or") || Current.IsName("and")))
        {
            if (Current.IsName("is"))
                throw Fail("You cannot chain multiple tests with is");
            arguments.Positional.Add(Postfix(Primary()));
        }
        if (!JinjaTests.Exists(name))
            unknown.Add(new(ChatTemplateErrorKind.TemplateAssertionError, $"No test named {PyText.Repr(name)}.") { Line = line });
        JinjaExpression test = new TestExpression(value, name, arguments);
        return negated ? new UnaryExpression("not", test) : test;
    }

    private (string Name, int Line) DottedName()
    {
        JinjaToken token = Expect("name");
        string name = token.Text;
        while (Skip("."))
            name += "." + Expect("name").Text;
        return (name, token.Line);
    }
}
