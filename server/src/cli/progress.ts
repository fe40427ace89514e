/** One line on a terminal that says how far something is, overwritten as it goes on, and cleared when it is disposed of. */
export type ProgressLine = Disposable & { show(text: string): void; clear(): void };

/** @param isShown whether there is a terminal: nobody watches a file */
export const progressLine = (isShown: boolean): ProgressLine => {
  const write = (text: string): void => void (isShown && process.stderr.write(`\r\u001b[K${text}`));
  const clear = (): void => write('');
  return { show: write, clear, [Symbol.dispose]: clear };
};
