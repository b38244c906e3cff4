# Three zones. Nodes have private addresses only; what they fetch goes through a NAT gateway in each
# zone, and what they read of the bucket through an endpoint, which costs nothing and leaves no zone.
data "aws_availability_zones" "all" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  name  = "abserve-${var.environment}"
  zones = slice(data.aws_availability_zones.all.names, 0, 3)

  # Of the control plane alone: NetworkPolicies tell the API server from pods by its addresses.
  api_server_cidr = cidrsubnet(var.network_cidr, 8, 195)
}

module "network" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "6.6.0"

  name = local.name
  cidr = var.network_cidr
  azs  = local.zones

  # Pods have addresses of these, so they are large; the public ones hold load balancers.
  private_subnets = [for index in range(3) : cidrsubnet(var.network_cidr, 2, index)]
  public_subnets  = [for index in range(3) : cidrsubnet(var.network_cidr, 8, 192 + index)]
  intra_subnets   = [for index in range(3) : cidrsubnet(local.api_server_cidr, 2, index)]

  enable_nat_gateway     = true
  one_nat_gateway_per_az = true

  enable_flow_log                                 = true
  create_flow_log_cloudwatch_iam_role             = true
  create_flow_log_cloudwatch_log_group            = true
  flow_log_cloudwatch_log_group_retention_in_days = 90

  private_subnet_tags = { "kubernetes.io/role/internal-elb" = 1 }
  public_subnet_tags  = { "kubernetes.io/role/elb" = 1 }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = module.network.vpc_id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = module.network.private_route_table_ids
}
