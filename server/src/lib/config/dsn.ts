/** Whether a text can be Sentry's address of a project: `https://<key>@<host>/<project>`. */
export const isDsn = (text: string): boolean => /^https?:\/\/\w+@[\w.:[\]-]+\/(?:[\w./-]*\/)?\d+$/.test(text);
