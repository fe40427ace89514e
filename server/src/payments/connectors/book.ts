import type { Connector, ConnectorResult } from './connector.ts';

const approved = async (): Promise<ConnectorResult> => ({ outcome: 'approved' });

/** Money that our own books settle: cash, transfers that arrived otherwise, and every payment of a quick test. */
export const book: Connector = {
  name: 'book',
  internal: true,
  authorise: approved,
  capture: approved,
  cancel: approved,
  refund: approved,
  status: approved,
};
