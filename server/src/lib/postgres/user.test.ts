import { describe, expect, test } from 'vitest';
import { unprivilegedUser } from './user.ts';

type Run = NonNullable<Parameters<typeof unprivilegedUser>[0]>;

/** A system with some users, on which `useradd` works or does not. */
const system =
  (users: Record<string, number>, { mayAdd }: { mayAdd: boolean }): Run =>
  (command, args) => {
    const name = args.at(-1) ?? '';
    if (command === 'useradd' && mayAdd) users[name] = 999;
    const uid = users[name];
    return { status: uid === undefined ? 1 : 0, stdout: `${String(uid)}\n` };
  };

describe('the user that root gives PostgreSQL', () => {
  test('is florin, made when it is missing', () => {
    expect(unprivilegedUser(system({ postgres: 101 }, { mayAdd: true }), true)).toEqual({
      name: 'florin',
      uid: 999,
      gid: 999,
    });
    expect(unprivilegedUser(system({ florin: 7 }, { mayAdd: false }), true)).toEqual({
      name: 'florin',
      uid: 7,
      gid: 7,
    });
  });

  test('is one that exists where users can’t be made', () => {
    expect(unprivilegedUser(system({ nobody: 65534 }, { mayAdd: false }), true)?.name).toBe('nobody');
    expect(unprivilegedUser(system({ nobody: 65534, postgres: 101 }, { mayAdd: false }), true)?.name).toBe(
      'postgres',
    );
  });

  test('is asked for when there is none', () => {
    expect(() => unprivilegedUser(system({}, { mayAdd: false }), true)).toThrow('PAYMENTS_DATABASE_HOST');
  });

  test('is ourselves when we are not root', () => {
    expect(unprivilegedUser(system({ florin: 7 }, { mayAdd: true }), false)).toBeUndefined();
  });
});
