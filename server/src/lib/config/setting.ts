import { services } from './environment.ts';
import type { Service } from './environment.ts';
import type { Kind } from './kinds.ts';

/** Another name of a setting, from a guide or a standard. It is read only by the services which that describes. */
export type Alias = { name: string; services: readonly Service[] };

type Options<T> = {
  /** What it does, for the reference page: one or two sentences. */
  doc: string;
  /** The services that read it. The others keep the default and never see the value. */
  services: readonly Service[];
  default?: NoInfer<T>;
  /** Follows from other settings (see `computed.ts`); the text says how. */
  computed?: string;
  /** What is computed may still be no value. */
  optional?: true;
  /** These services can't run without it, in any environment. */
  requiredBy?: readonly Service[];
  /** Whoever reads it needs it in production. */
  requiredInProduction?: true;
  /** Never shown; refused in YAML files. */
  secret?: true;
  unit?: string;
  aliases?: readonly Alias[];
};

/** One row of the table. `Traits` say whether there is always a value, and whether its default is computed. */
export type Setting<T = unknown, Traits extends SettingTraits = SettingTraits> = Options<T> & {
  kind: Kind<T>;
  traits: Traits;
};

type SettingTraits = { present: boolean; computed: boolean };

type TraitsOf<O> = {
  present: O extends { optional: true }
    ? false
    : O extends { default: unknown } | { computed: string } | { requiredBy: unknown }
      ? true
      : false;
  computed: O extends { computed: string } ? true : false;
};

/** What of the options decides about the traits. */
type Marks = { default?: unknown; computed?: unknown; requiredBy?: unknown; optional?: unknown };

/** Declares a setting: its kind, then what else there is to know. */
export const setting = <T, O extends Marks>(
  kind: Kind<T>,
  options: Options<T> & O,
): Setting<T, TraitsOf<O>> => {
  const isFilled = 'default' in options || 'computed' in options || 'requiredBy' in options;
  const traits = { present: isFilled && options.optional !== true, computed: 'computed' in options };
  // `TraitsOf` is these tests as a type; TypeScript can't see that the two agree.
  return { ...options, kind, traits: traits as TraitsOf<O> };
};

/** The canonical variable of a setting, e.g. `PAYMENTS_SERVER_TLS_ENABLED` of `server.tls.enabled`. */
export const variableOf = (path: string): string => `PAYMENTS_${path.toUpperCase().replaceAll('.', '_')}`;

/** The services that the variables of each guide, or of a standard, are meant for: the ones that it describes. */
const guideServices = {
  '001': ['all', 'api', 'eapi', 'sapi', 'worker', 'cli'],
  '002': ['all', 'api', 'eapi', 'sapi', 'worker', 'cli'],
  '003': ['all', 'credlink'],
  OpenTelemetry: services,
} as const satisfies Record<string, readonly Service[]>;

export const alias = (guide: keyof typeof guideServices, name: string): Alias => ({
  name,
  services: guideServices[guide],
});
