# The cluster and its nodes. Secrets are encrypted with a key of our own, and nodes have an identity
# that may do next to nothing: pods have theirs (identity.tf).
data "google_project" "main" {}

resource "google_kms_key_ring" "main" {
  name     = local.name
  location = var.region
}

resource "google_kms_crypto_key" "secrets" {
  name            = "kubernetes-secrets"
  key_ring        = google_kms_key_ring.main.id
  rotation_period = "7776000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "secrets" {
  crypto_key_id = google_kms_crypto_key.secrets.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${data.google_project.main.number}@container-engine-robot.iam.gserviceaccount.com"
}

resource "google_container_cluster" "main" {
  name     = local.name
  location = var.region

  network         = google_compute_network.main.id
  subnetwork      = google_compute_subnetwork.nodes.id
  networking_mode = "VPC_NATIVE"

  # It enforces NetworkPolicies, without an add-on.
  datapath_provider = "ADVANCED_DATAPATH"

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.api_cidrs) == 0
    master_ipv4_cidr_block  = "172.16.0.0/28"
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.api_cidrs

      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  database_encryption {
    state    = "ENCRYPTED"
    key_name = google_kms_crypto_key.secrets.id
  }

  release_channel {
    channel = var.release_channel
  }

  maintenance_policy {
    recurring_window {
      start_time = "2026-01-03T02:00:00Z"
      end_time   = "2026-01-03T08:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "APISERVER"]
  }

  # Prometheus runs in the cluster, and Google's own copy of it costs.
  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS"]

    managed_prometheus {
      enabled = false
    }
  }

  # Pools are resources of their own, so that one can be changed without the cluster.
  remove_default_node_pool = true
  initial_node_count       = 1
  deletion_protection      = var.environment == "production"

  depends_on = [google_kms_crypto_key_iam_member.secrets]
}

resource "google_service_account" "nodes" {
  account_id   = "${local.name}-nodes"
  display_name = "Nodes of ${local.name}"
}

resource "google_project_iam_member" "nodes" {
  for_each = toset([
    "roles/container.defaultNodeServiceAccount",
    "roles/artifactregistry.reader",
  ])

  project = var.project
  role    = each.value
  member  = google_service_account.nodes.member
}

locals {
  pools = {
    # Operators, gateway and monitoring: what has to be there for the rest.
    system = { machine_type = "e2-standard-4", min = 1, max = 2, spot = false }
    serving = merge(var.serving_nodes, { spot = false })
    # Trainings can be taken up again, so they take what is spare and cheap. Nothing else lands here.
    training = { machine_type = "c3-standard-8", min = 0, max = 2, spot = true }
  }
}

resource "google_container_node_pool" "main" {
  for_each = local.pools

  name     = each.key
  cluster  = google_container_cluster.main.id
  location = var.region

  # In each zone of the region.
  autoscaling {
    min_node_count = each.value.min
    max_node_count = each.value.max
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  upgrade_settings {
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type    = each.value.machine_type
    spot            = each.value.spot
    disk_type       = "pd-balanced"
    disk_size_gb    = 80
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    tags            = [local.name]
    labels          = { "abserve.io/pool" = each.key }

    # A pod asks for its own identity, and never gets the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    dynamic "taint" {
      for_each = each.key == "training" ? ["training"] : []

      content {
        key    = "abserve.io/pool"
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }
  }
}
