import type { Json } from '../lib/canonical.ts';
import { AppError, invalidField } from '../lib/errors.ts';
import { formatAmount } from '../lib/money.ts';
import type { PaymentsModule } from './module.ts';
import type { Payment } from './payment.ts';
import type { CreatePaymentBody } from './schema.ts';

/** @throws AppError `invalid_request` when the payer is named in two ways, or by name alone */
export const checkCustomer = ({
  customer_id: id,
  customer_email: email,
  customer_name: name,
}: CreatePaymentBody): void => {
  if (id !== undefined && email !== undefined) {
    throw invalidField('customer_email', 'goes without customer_id: name the customer in one way');
  }
  if (name !== undefined && email === undefined) {
    throw invalidField('customer_name', 'needs customer_email, by which a customer is known');
  }
};

/** The body as its key remembers it: a plain hash of an address could be guessed and would outlive its erasure. */
export const withoutPerson = (module: PaymentsModule, body: CreatePaymentBody): Json => {
  const { customer_email: email, customer_name: name, ...rest } = body;
  return email === undefined
    ? rest
    : { ...rest, customer: module.fingerprint(JSON.stringify([email, name])) };
};

/** The refusal of a change that the payment's state does not allow; says which state would. */
export const wrongState = (payment: Payment, verb: string, needed: string) =>
  new AppError(
    'invalid_state',
    `This payment is ${payment.state}; only one that is ${needed} can be ${verb}.`,
  );

/** The refusal of more than there is; says how much there is. */
export const tooLarge = (verb: string, payment: Payment, leftMinor: bigint) =>
  new AppError(
    'amount_too_large',
    `At most ${formatAmount(leftMinor, payment.currency)} ${payment.currency} of this payment can be ${verb}.`,
  );
