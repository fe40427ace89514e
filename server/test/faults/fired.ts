/** Counts faults: a run in which one never happened has shown nothing about it. */
export const countFaults = <Name extends string>(names: readonly Name[]) => {
  const counts = new Map<Name, number>(names.map((name) => [name, 0]));
  return {
    happened: (name: Name, times: number): void => void counts.set(name, (counts.get(name) ?? 0) + times),
    never: (): Name[] => names.filter((name) => counts.get(name) === 0),
  };
};
