import { instant } from "../core/audit.js";
import { type Transport, path } from "../core/transport.js";
import type { OAuthCredentials, OAuthCredentialsInfo, RequestOptions } from "../core/types.js";

/** Credentials that the gateway uses for tenants. */
export class AdminOAuth {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Stores a tenant's tokens for an integration, in place of older ones. */
  async storeCredentials(
    tenantId: string,
    integration: string,
    credentials: OAuthCredentials,
    options?: RequestOptions,
  ): Promise<OAuthCredentialsInfo> {
    const body = { ...credentials, expiresAt: instant(credentials.expiresAt) };
    const call = { method: "PUT", path: at(tenantId, integration), body, options } as const;
    return (await this.#transport.request<OAuthCredentialsInfo>(call)).data;
  }

  /** What is stored, without the tokens. */
  async getCredentials(tenantId: string, integration: string, options?: RequestOptions): Promise<OAuthCredentialsInfo> {
    const call = { method: "GET", path: at(tenantId, integration), options } as const;
    return (await this.#transport.request<OAuthCredentialsInfo>(call)).data;
  }

  /** Forgets a tenant's tokens for an integration. */
  async deleteCredentials(tenantId: string, integration: string, options?: RequestOptions): Promise<void> {
    await this.#transport.request({ method: "DELETE", path: at(tenantId, integration), options });
  }
}

function at(tenantId: string, integration: string): string {
  return path`/api/v1/admin/tenants/${tenantId}/oauth/${integration}/credentials`;
}
