# The cluster, its nodes and its add-ons. Secrets are encrypted with a key of our own, and the control
# plane's audit log is kept: it is the answer to who changed a weight.
module "cluster" {
  source  = "terraform-aws-modules/eks/aws"
  version = "21.19.0"

  name               = local.name
  kubernetes_version = var.kubernetes_version

  vpc_id     = module.network.vpc_id
  subnet_ids = module.network.private_subnets

  control_plane_subnet_ids = module.network.intra_subnets

  endpoint_private_access      = true
  endpoint_public_access       = length(var.api_cidrs) > 0
  endpoint_public_access_cidrs = var.api_cidrs

  deletion_protection = var.environment == "production"
  enabled_log_types   = ["api", "audit", "authenticator"]

  cloudwatch_log_group_retention_in_days = 365

  enable_kms_key_rotation = true

  # The module lets the control plane reach what most operators' webhooks listen on. Not among it are
  # Istio's injector, without which no pod of the mesh starts, and the counts that `abserve status` reads
  # through the API server.
  node_security_group_additional_rules = {
    injector = {
      description                   = "Control plane to the injector of Istio"
      from_port                     = 15017
      to_port                       = 15017
      source_cluster_security_group = true
    }
    counts = {
      description                   = "Control plane to the metrics of replicas"
      from_port                     = 6000
      to_port                       = 6002
      source_cluster_security_group = true
    }
  }

  # Rights are access entries, and not whoever ran this.
  authentication_mode                      = "API"
  enable_cluster_creator_admin_permissions = false
  access_entries = {
    for each in var.administrators : each => {
      principal_arn = each
      policy_associations = {
        admin = {
          policy_arn   = "arn:${data.aws_partition.current.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
          access_scope = { type = "cluster" }
        }
      }
    }
  }

  # Pods get roles by their service account (identity.tf).
  enable_irsa = true

  addons = {
    vpc-cni = {
      before_compute = true
      # Without it NetworkPolicies are accepted, and do nothing.
      configuration_values = jsonencode({ enableNetworkPolicy = "true" })
    }
    kube-proxy     = {}
    coredns        = {}
    metrics-server = {}
    aws-ebs-csi-driver = {
      service_account_role_arn = aws_iam_role.workload["volumes"].arn
    }
  }

  eks_managed_node_groups = {
    # Operators, gateway and monitoring: what has to be there for the rest.
    system = merge(local.nodes, {
      instance_types = ["m7i.large"]
      min_size       = 3
      max_size       = 6
      desired_size   = 3
      labels         = { "abserve.io/pool" = "system" }
    })

    serving = merge(local.nodes, {
      instance_types = [var.serving_nodes.instance_type]
      min_size       = var.serving_nodes.min
      max_size       = var.serving_nodes.max
      desired_size   = var.serving_nodes.min
      labels         = { "abserve.io/pool" = "serving" }
    })

    # Trainings can be taken up again, so they take what is spare and cheap. Nothing else lands here.
    training = merge(local.nodes, {
      capacity_type  = "SPOT"
      instance_types = ["m7i.2xlarge", "m6i.2xlarge", "m6a.2xlarge", "m7a.2xlarge"]
      min_size       = 0
      max_size       = 4
      desired_size   = 0
      labels         = { "abserve.io/pool" = "training" }
      taints = {
        training = { key = "abserve.io/pool", value = "training", effect = "NO_SCHEDULE" }
      }
    })
  }
}

locals {
  nodes = {
    ami_type = "AL2023_x86_64_STANDARD"

    block_device_mappings = {
      root = {
        device_name = "/dev/xvda"
        ebs = {
          volume_type           = "gp3"
          volume_size           = 80
          encrypted             = true
          delete_on_termination = true
        }
      }
    }

    # A pod cannot reach the node's own credentials: answers go no further than the node.
    metadata_options = {
      http_endpoint               = "enabled"
      http_tokens                 = "required"
      http_put_response_hop_limit = 1
    }

    update_config = { max_unavailable = 1 }
  }
}
