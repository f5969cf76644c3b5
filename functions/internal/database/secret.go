package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
)

// secretTimeout bounds one look at the secret. A connect goes on when the request that wanted it has given up.
const secretTimeout = 2 * time.Second

// secret is where user and password are.
type secret struct {
	client *secretsmanager.Client
	arn    string
}

func newSecret(ctx context.Context, arn string) (*secret, error) {
	sdk, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("configure the AWS SDK: %w", err)
	}
	return &secret{client: secretsmanager.NewFromConfig(sdk), arn: arn}, nil
}

// authenticate reads the secret anew for every connection, because RDS rotates the password it manages every seven days.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
func (s *secret) authenticate(ctx context.Context, conn *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	value, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn})
	if err != nil {
		return fmt.Errorf("read the secret %s: %w", s.arn, err)
	}
	user, password, err := parseSecret(aws.ToString(value.SecretString))
	if err != nil {
		return fmt.Errorf("read the secret %s: %w", s.arn, err)
	}
	conn.Password = password
	if user != "" {
		conn.User = user
	}
	return nil
}

// parseSecret takes the JSON of a secret that RDS manages. Any other text is a password, whatever it looks like.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
func parseSecret(text string) (user, password string, err error) {
	fields := struct{ Username, Password string }{}
	if json.Unmarshal([]byte(text), &fields) != nil {
		fields.Username, fields.Password = "", text
	}
	if fields.Password == "" {
		return "", "", errors.New("it has no password: store one as plain text, or as JSON with username and password")
	}
	return fields.Username, fields.Password, nil
}
