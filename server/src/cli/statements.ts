/** What is left of an input after its complete statements: the start of the next one. */
export type Split = { statements: string[]; rest: string };

// Each alternative is a stretch in which a semicolon ends nothing: comments, texts, names, dollar quotes.
const stretches =
  /--[^\n]*(?:\n|$)|\/\*|(?<![\w$])[eE]'(?:[^'\\]|''|\\[\s\S])*(?:'|$)|'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|(?<![\w$])\$(?:[A-Za-z_]\w*)?\$|;/g;

/**
 * Splits SQL at the semicolons that end a statement, as psql does: not at those in texts, quoted names, comments
 * (nested, too) and dollar quotes, nor inside the body of a `begin atomic` function.
 */
export const splitStatements = (input: string): Split => {
  const statements: string[] = [];
  let from = 0;
  stretches.lastIndex = 0;
  for (let match = stretches.exec(input); match !== null; match = stretches.exec(input)) {
    const [found] = match;
    if (found === '/*') stretches.lastIndex = endOfComment(input, stretches.lastIndex);
    else if (found.startsWith('$')) stretches.lastIndex = endOfQuote(input, found, stretches.lastIndex);
    if (found !== ';' || isInsideBody(input.slice(from, match.index))) continue;
    statements.push(input.slice(from, stretches.lastIndex).trim());
    from = stretches.lastIndex;
  }
  return { statements: statements.filter((text) => text !== ';'), rest: input.slice(from) };
};

const endOfComment = (input: string, from: number): number => {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = from;
  for (let depth = 1, match = marks.exec(input); match !== null; match = marks.exec(input)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return input.length;
};

const endOfQuote = (input: string, tag: string, from: number): number => {
  const end = input.indexOf(tag, from);
  return end === -1 ? input.length : end + tag.length;
};

const isInsideBody = (text: string): boolean =>
  /^\s*create\s[\s\S]*\bbegin\s+atomic\b/i.test(text) && !/\bend\s*$/i.test(text);
