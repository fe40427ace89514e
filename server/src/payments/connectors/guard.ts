import { elapsedMs, type Clock } from '../../lib/clock.ts';
import { NotSent, type Connector, type ConnectorStatus, type OperationKind } from './connector.ts';

/** How a call ended: what was said, or that nothing was. `unreachable`: nothing was even sent. */
export const callResults = ['approved', 'declined', 'pending', 'absent', 'no_answer', 'unreachable'] as const;
export type CallResult = (typeof callResults)[number];

/** One call that has ended. */
export type EndedCall = {
  connector: string;
  kind: OperationKind | 'status';
  result: CallResult;
  durationMs: number;
};

type Options = {
  clock: Clock;
  onCall(call: EndedCall): void;
  /** Told when the circuit opens (`true`) and closes. */
  onCircuit(connector: string, isOpen: boolean): void;
};

/** After so many calls in a row without an answer, the circuit opens. */
const failuresMax = 5;

/** While it is open, one call in this time goes ahead and finds out whether the backend is back. */
const pauseMs = 10_000;

/**
 * A connector that measures its calls and stops them while its backend is down. The circuit is asked before a call is
 * claimed (`admit`): a payment that was begun is called for in any case, and one that is refused never was begun.
 * Asking (`status`) is never stopped, since it can't do harm; it closes the circuit like any other answer.
 *
 * Where nothing could be sent, nothing has happened: that is a decline, at once and for sure.
 */
export const guarded = (connector: Connector, { clock, onCall, onCircuit }: Options): Connector => {
  const { name } = connector;
  let failures = 0;
  let triedAt = 0;

  const note = (isAnswered: boolean): void => {
    const wasOpen = failures >= failuresMax;
    failures = isAnswered ? 0 : failures + 1;
    const isOpen = failures >= failuresMax;
    if (isOpen) triedAt = elapsedMs(clock);
    if (isOpen !== wasOpen) onCircuit(name, isOpen);
  };

  const measured = async <Result extends ConnectorStatus>(
    kind: EndedCall['kind'],
    call: () => Promise<Result>,
  ): Promise<Result> => {
    const startedAt = elapsedMs(clock);
    const end = (result: CallResult): void => {
      note(result !== 'no_answer' && result !== 'unreachable');
      onCall({ connector: name, kind, result, durationMs: elapsedMs(clock) - startedAt });
    };
    try {
      const result = await call();
      end(resultOf(result));
      return result;
    } catch (error) {
      end(error instanceof NotSent ? 'unreachable' : 'no_answer');
      throw error;
    }
  };

  /** A call that moves money, if it is made. */
  const moving = <Call>(kind: OperationKind, perform: (call: Call) => ReturnType<Connector['capture']>) => {
    return (call: Call): ReturnType<Connector['capture']> =>
      measured(kind, () => perform(call)).catch((error: unknown) => {
        if (error instanceof NotSent) return { outcome: 'declined', failureCode: 'backend_error' };
        throw error;
      });
  };

  return {
    ...connector,
    admit: () => {
      if (failures < failuresMax) return 0;
      const leftMs = triedAt + pauseMs - elapsedMs(clock);
      if (leftMs > 0) return leftMs;
      triedAt = elapsedMs(clock);
      return 0;
    },
    authorise: moving('authorise', connector.authorise),
    capture: moving('capture', connector.capture),
    cancel: moving('cancel', connector.cancel),
    refund: moving('refund', connector.refund),
    status: (call) => measured('status', () => connector.status(call)),
  };
};

const resultOf = (result: ConnectorStatus): CallResult => {
  if (result.outcome !== 'unknown') return result.outcome;
  return result.isPending ? 'pending' : 'no_answer';
};
