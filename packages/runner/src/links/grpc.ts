/** The link of a runner that dials its coordinator. */

export { createGrpcConnection } from './grpc-connection.ts';
export { createGrpcCoordinator } from './grpc-coordinator.ts';
export { createGrpcService } from './grpc-service.ts';
