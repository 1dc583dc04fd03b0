import { type Transport, path } from "../core/transport.js";
import type { OAuthAuthorization, OAuthConfig, RequestOptions } from "../core/types.js";
import { required } from "./tenants.js";

type Told = Readonly<Record<string, unknown>>;

/** The tenant's OAuth applications and connections. */
export class OAuth {
  readonly #transport: Transport;
  readonly #tenantId: string | undefined;

  constructor(transport: Transport, tenantId: string | undefined) {
    this.#transport = transport;
    this.#tenantId = tenantId;
  }

  /** Where a user agrees, and what the answer has to repeat. */
  async authorize(integration: string, options?: RequestOptions): Promise<OAuthAuthorization> {
    const call = { method: "POST", path: path`/api/v1/oauth/authorize/${integration}`, options } as const;
    return (await this.#transport.request<OAuthAuthorization>(call)).data;
  }

  /** How a connection stands. */
  async getStatus(integration: string, options?: RequestOptions): Promise<Told> {
    return (await this.#transport.request<Told>({ method: "GET", path: this.#integration(integration), options })).data;
  }

  /** Ends a connection. */
  async revoke(integration: string, options?: RequestOptions): Promise<void> {
    const at = `${this.#integration(integration)}/credentials`;
    await this.#transport.request({ method: "DELETE", path: at, options });
  }

  /** Sets the OAuth application of an integration. */
  async configure(integration: string, config: OAuthConfig, options?: RequestOptions): Promise<Told> {
    const at = `${this.#integration(integration)}/oauth-config`;
    // Setting it twice comes to the same.
    const call = { method: "POST", path: at, body: config, repeatable: true, options } as const;
    return (await this.#transport.request<Told>(call)).data;
  }

  /** The OAuth application of an integration, without its secret. */
  async getConfig(integration: string, options?: RequestOptions): Promise<Told> {
    const at = `${this.#integration(integration)}/oauth-config`;
    return (await this.#transport.request<Told>({ method: "GET", path: at, options })).data;
  }

  /** Forgets the OAuth application of an integration. */
  async deleteConfig(integration: string, options?: RequestOptions): Promise<void> {
    const at = `${this.#integration(integration)}/oauth-config`;
    await this.#transport.request({ method: "DELETE", path: at, options });
  }

  #integration(integration: string): string {
    return path`/api/v1/tenants/${required(this.#tenantId)}/integrations/${integration}`;
  }
}
