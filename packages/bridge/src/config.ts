/** The bridge's settings from its environment, read here and nowhere else. */
export type BridgeConfig = {
  /** Where the runner listens, when it could not hand over fd 3. */
  runnerSocket?: string;
  /** Where the sandbox's gateway is reached: 127.0.0.1:`port` is forwarded to this Unix socket. */
  gateway?: { socketPath: string; port: number };
  /** The sandbox's own; what executors and commands get lies over it. */
  env: Readonly<Record<string, string | undefined>>;
};

export function readConfig(env: Readonly<Record<string, string | undefined>>): BridgeConfig {
  const {
    ATOLL_RUNNER_SOCKET: runnerSocket,
    ATOLL_GATEWAY_SOCKET: socketPath,
    ATOLL_GATEWAY_PORT: port,
    NODE_COMPILE_CACHE: _,
    NODE_COMPILE_CACHE_PORTABLE: __,
    ...rest
  } = env;
  // The compile cache is the bridge's own; an agent's node processes must not write to it or complain about it.
  return {
    ...(runnerSocket && { runnerSocket }),
    ...(socketPath && { gateway: { socketPath, port: Number(port) } }),
    env: rest,
  };
}
