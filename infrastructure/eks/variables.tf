variable "environment" {
  description = "Which environment this cluster is; part of every name."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment is staging or production, as in manifests/clusters."
  }
}

variable "region" {
  description = "AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is one like eu-central-1."
  }
}

variable "bucket" {
  description = "The model repository's bucket; the overlays name it in every modelUri."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "network_cidr" {
  description = "Addresses of the network. Pods take theirs from it, so it is large."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.network_cidr, 0)) && tonumber(split("/", var.network_cidr)[1]) <= 18
    error_message = "network_cidr is a range like 10.40.0.0/16, of /18 or larger."
  }
}

variable "api_cidrs" {
  description = "Who may reach the Kubernetes API from outside of the network; nobody by default."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.api_cidrs : can(cidrhost(each, 0)) && each != "0.0.0.0/0"])
    error_message = "api_cidrs are ranges like 192.0.2.0/24, and not the whole internet."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles that administer the cluster."
  type        = list(string)

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for each in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", each))])
    error_message = "administrators are ARNs of IAM roles, one at least: without them nobody gets in."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes of the control plane and the nodes."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version)) && tonumber(split(".", var.kubernetes_version)[1]) >= 31
    error_message = "kubernetes_version is one like 1.35, from 1.31 on, which Istio 1.30 needs."
  }
}

variable "serving_nodes" {
  description = "Nodes for predictors: their type, and the least and greatest number."
  type        = object({ instance_type = string, min = number, max = number })
  default     = { instance_type = "m7i.xlarge", min = 3, max = 12 }

  validation {
    condition     = var.serving_nodes.min >= 3 && var.serving_nodes.max >= var.serving_nodes.min
    error_message = "serving_nodes has at least 3, one for each zone, and max is not below min."
  }
}

variable "dns_zone_id" {
  description = "The Route 53 zone of the gateway's host name, where cert-manager answers challenges."
  type        = string

  validation {
    condition     = can(regex("^Z[A-Z0-9]+$", var.dns_zone_id))
    error_message = "dns_zone_id is one like Z0123456789ABCDEFGHIJ."
  }
}

variable "noncurrent_days" {
  description = "How long the bucket keeps what was deleted or overwritten: the time to notice it."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_days >= 30
    error_message = "noncurrent_days is 30 or more."
  }
}

variable "writer_accounts" {
  description = "Service accounts of the namespace models that publish and delete versions: the jobs'."
  type        = list(string)
  default     = ["abserve-train", "abserve-retrain-iris", "abserve-prune"]
}
