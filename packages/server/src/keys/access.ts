/** Who is asking: a tenant and a role. Admins cross tenants; everybody else sees their own only (I12). */
import type { Role } from '@atoll/protocol/schemas/platform';

export type Access = {
  readonly tenant: string;
  readonly role: Role;
  readonly crossesTenants: boolean;
  /** Whether rows of that tenant are there for them. */
  may(tenant: string): boolean;
};

export function access(tenant: string, role: Role): Access {
  const crossesTenants = role === 'admin';
  return { tenant, role, crossesTenants, may: (other) => crossesTenants || other === tenant };
}
