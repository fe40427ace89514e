import { sql } from 'kysely';
import type { Db } from '../../src/lib/database.ts';

/** What a payment's metadata holds that PostgreSQL will refuse to insert. */
export const poisonous = { poison: 'yes' } as const;

/** Makes PostgreSQL raise at such a payment, as it would at one that a check constraint forbids. */
export const plantPoison = async (superuser: Db): Promise<void> => {
  await sql`
    create function payments.refuse_poison() returns trigger language plpgsql as $$
    begin
      raise exception 'poison' using errcode = 'check_violation';
    end $$
  `.execute(superuser);
  await sql`
    create trigger refuse_poison before insert on payments.payments
    for each row when (new.metadata ? 'poison') execute function payments.refuse_poison()
  `.execute(superuser);
};
