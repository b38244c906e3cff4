# The model repository. Versions are immutable, so what the bucket keeps of the past is what somebody
# deleted or overwrote by mistake: docs/runbook/lost-repository.md brings it back.
data "google_storage_project_service_account" "main" {}

resource "google_kms_crypto_key" "models" {
  name            = "model-repository"
  key_ring        = google_kms_key_ring.main.id
  rotation_period = "7776000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "models" {
  crypto_key_id = google_kms_crypto_key.models.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.main.member
}

resource "google_storage_bucket" "models" {
  name     = var.bucket
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  # Who may delete an object may delete its old versions as well, of which AWS makes a right of its own.
  # So what was deleted for good can be restored for another month, by an administrator.
  soft_delete_policy {
    retention_duration_seconds = 2592000
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.models.id
  }

  # Which versions of a model are kept is decided by `abserve models prune`, not here: nothing that is
  # current is deleted.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }

    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 7
    }

    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.models]
}
