/** The link of a runner that dials its coordinator. */
export { createGrpcCoordinator } from '../coordinator/grpc.ts';
export { createGrpcConnection } from './grpc-connection.ts';
export { createGrpcService } from './grpc-service.ts';
