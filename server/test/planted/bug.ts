/**
 * A bug as somebody might write it, planted in a copy of the sources to see that the tests find it. The code without it
 * is what is right.
 */
export type Bug = {
  /** For `--only`. */
  name: string;
  /** What goes wrong for whoever uses Florin, in a sentence. */
  breaks: string;
  /** The file, from the root of the repository. SQL counts too: test databases are migrated from the copy. */
  file: string;
  /** Occurs in the file exactly once. */
  find: string;
  replace: string;
  /** Test files of which at least one has to turn red. */
  caughtBy: readonly string[];
  /** A part of the name of the tests that are meant, where the rest of their file takes long. */
  filter?: string;
};

/** The source with the bug in it. @throws Error when the place is not there, or there more than once */
export const withBug = ({ name, file, find, replace }: Bug, source: string): string => {
  const parts = source.split(find);
  if (parts.length === 2) return parts.join(replace);
  throw new Error(
    `${name}: ${file} has its place ${parts.length - 1} times, not once. Is the bug still possible? ` +
      `Then find the place anew in server/test/planted.`,
  );
};
