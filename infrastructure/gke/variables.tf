variable "environment" {
  description = "Which environment this cluster is; part of every name."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment is staging or production, as in manifests/clusters."
  }
}

variable "project" {
  description = "The Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is a project's ID, not its name or number."
  }
}

variable "region" {
  description = "Google Cloud region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is one like europe-west3."
  }
}

variable "bucket" {
  description = "The model repository's bucket; the overlays name it in every modelUri."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket has 3 to 63 lower-case letters, digits, dots, hyphens and underscores."
  }
}

variable "network_cidr" {
  description = "Addresses of nodes."
  type        = string
  default     = "10.40.0.0/20"

  validation {
    condition     = can(cidrhost(var.network_cidr, 0))
    error_message = "network_cidr is a range like 10.40.0.0/20."
  }
}

variable "pods_cidr" {
  description = "Addresses of pods: 256 for each node."
  type        = string
  default     = "10.44.0.0/14"

  validation {
    condition     = can(cidrhost(var.pods_cidr, 0)) && tonumber(split("/", var.pods_cidr)[1]) <= 18
    error_message = "pods_cidr is a range like 10.44.0.0/14, of /18 or larger."
  }
}

variable "services_cidr" {
  description = "Addresses of Services."
  type        = string
  default     = "10.48.0.0/20"

  validation {
    condition     = can(cidrhost(var.services_cidr, 0))
    error_message = "services_cidr is a range like 10.48.0.0/20."
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

variable "release_channel" {
  description = "How fast GKE raises Kubernetes."
  type        = string
  default     = "STABLE"

  validation {
    condition     = contains(["REGULAR", "STABLE", "EXTENDED"], var.release_channel)
    error_message = "release_channel is REGULAR, STABLE or EXTENDED."
  }
}

variable "serving_nodes" {
  description = "Nodes for predictors in each of the region's zones: their type, least and greatest number."
  type        = object({ machine_type = string, min = number, max = number })
  default     = { machine_type = "c3-standard-4", min = 1, max = 4 }

  validation {
    condition     = var.serving_nodes.min >= 1 && var.serving_nodes.max >= var.serving_nodes.min
    error_message = "serving_nodes has at least 1 in each zone, and max is not below min."
  }
}

variable "dns_zone" {
  description = "The Cloud DNS zone of the gateway's host name, where cert-manager answers challenges."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.dns_zone))
    error_message = "dns_zone is a managed zone's name, not its domain."
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
