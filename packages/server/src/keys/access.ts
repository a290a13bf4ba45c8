/**
 * Who is asking: a tenant and a role. Admins cross tenants; everybody else sees their own only (I12). A session's token
 * is a client that reaches that session alone.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Role } from '@atoll/protocol/schemas/platform';

export type Access = {
  readonly tenant: string;
  readonly role: Role;
  readonly crossesTenants: boolean;
  /** The only session there is for them, in the assignment that they speak for. */
  readonly session: { readonly id: string; readonly epoch: number } | undefined;
  /** Whether rows of that tenant are there for them. */
  may(tenant: string): boolean;
};

export function access(tenant: string, role: Role): Access {
  const crossesTenants = role === 'admin';
  const may = (other: string) => crossesTenants || other === tenant;
  return { tenant, role, crossesTenants, session: undefined, may };
}

export function sessionAccess(tenant: string, session: { id: string; epoch: number }): Access {
  return { ...access(tenant, 'client'), session };
}

/** Throws `forbidden` or `forbidden_for_session`. */
export function refuseUnlessAllowed(
  { role, session }: Access,
  operation: { role: Role | 'public'; bySession?: boolean },
): void {
  if (session !== undefined) {
    if (operation.bySession) return;
    throw new AtollError('forbidden_for_session', 'a session may not do that for itself');
  }
  if (role !== operation.role && role !== 'admin')
    throw new AtollError('forbidden', `this needs a key with the role ${operation.role}, yours has ${role}`);
}

/** What a session's token asks of another session is refused before anybody looks whether that one is there. */
export function refuseForeignSession({ session }: Access, id: string): void {
  if (session !== undefined && session.id !== id)
    throw new AtollError('forbidden_for_session', 'a session reaches itself only');
}

/** Refuses the token of an assignment that was followed by another (I6). */
export function refuseStale({ session }: Access, epoch: number): void {
  if (session !== undefined && session.epoch < epoch)
    throw new AtollError(
      'stale_epoch',
      `the session is at epoch ${epoch}, this token is of ${session.epoch}`,
    );
}
